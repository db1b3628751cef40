"""Checks policies of several files: `use`, `override`, `param`, and values from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from recpolicy import schema
from recpolicy.errors import PolicyError, UsageError
from recpolicy.language import checker
from recpolicy.language import policy as typed

SHOP = schema.load(Path(__file__).parent / "shop.toml")
HEADER = 'policy "main" {\n  language = 1\n  data = "simulator"\n  slate = 10\n}\n'
HOUSE = (
    "let dear = item.price > 50\n"
    "param voices = 2\n"
    "boost cheap weight 0.3 = not dear\n"
    "quota one_voice weight 0.5 = at most voices per item.creator\n"
    "block unsafe = item.age_rating > user.age\n"
)


def read(folder: Path, text: str, params: Mapping[str, str] | None = None, /, **others: str) -> checker.Loaded:
    """The policy of `text`, with other files beside it; `__` in the name of one is a `/`."""
    for name, other in others.items():
        path = folder / f"{name.replace('__', '/')}.policy"
        path.parent.mkdir(exist_ok=True)
        path.write_text(other, "utf-8")
    (folder / "main.policy").write_text(HEADER + text, "utf-8")
    return checker.read(str(folder / "main.policy"), schema=SHOP, params=params)


def codes(folder: Path, text: str, /, **others: str) -> list[tuple[str, str]]:
    """The findings, each with the file it stands in."""
    with pytest.raises(PolicyError) as caught:
        read(folder, text, **others)
    assert caught.value.source is not None
    files = [f.source or caught.value.source for f in caught.value.findings]
    return [(f.code, Path(file.name).name) for f, file in zip(caught.value.findings, files, strict=True)]


def price_above(rule: typed.Rule) -> float:
    """The number that the price is compared with, anywhere in the rule's condition."""
    assert isinstance(rule, typed.Boost)
    todo: list[typed.Expr] = [rule.where]
    while todo:
        expr = todo.pop()
        if isinstance(expr, typed.Number):
            return expr.value
        todo += typed.children(expr)
    raise AssertionError("no number")


# ---- use


def test_used_file_is_inserted_at_use(tmp_path: Path) -> None:
    loaded = read(
        tmp_path, 'reward a weight 1 = ndcg(next_items)\nuse "house.policy"\nboost b weight 1 = dear\n', house=HOUSE
    )
    assert [rule.name for rule in loaded.policy.rules] == ["a", "cheap", "one_voice", "b"]
    assert [block.name for block in loaded.policy.blocks] == ["unsafe"]
    assert [Path(source.name).name for source in loaded.policy.sources] == ["main.policy", "house.policy"]
    assert {name: Path(source.name).name for name, source in loaded.sources.items() if name in ("a", "cheap")} == {
        "cheap": "house.policy"
    }


def test_use_path_is_relative_to_using_file(tmp_path: Path) -> None:
    text = 'use "rules/all.policy"\nreward a weight 1 = ndcg(next_items)\n'
    loaded = read(
        tmp_path, text, rules__all='use "house.policy"\nuse "../top.policy"\n', rules__house=HOUSE, top="let x = 3\n"
    )
    assert len(loaded.policy.sources) == 4
    assert [rule.name for rule in loaded.policy.rules] == ["cheap", "one_voice", "a"]


def test_file_used_twice_is_included_once(tmp_path: Path) -> None:
    loaded = read(
        tmp_path, 'use "a.policy"\nuse "b.policy"\n', a='use "house.policy"\n', b='use "house.policy"\n', house=HOUSE
    )
    assert [rule.name for rule in loaded.policy.rules] == ["cheap", "one_voice"]


def test_header_and_tests_of_used_file_are_ignored(tmp_path: Path) -> None:
    house = (
        'policy "house" {\n  language = 1\n  slate = 3\n}\n'
        + HOUSE
        + 'test "x" {\n  slate [{}]\n  expect cheap = 1\n}\n'
    )
    loaded = read(tmp_path, 'use "house.policy"\n', house=house)
    assert loaded.policy.name == "main" and loaded.policy.slate == 10 and loaded.policy.tests == ()


def test_finding_names_used_file(tmp_path: Path) -> None:
    house = "boost fresh weigh 0.5 = item.is_ad\nboost dear weight 1 = item.prize > 3\n"
    found = codes(tmp_path, 'use "house.policy"\nreward a weight 200 = ndcg(next_items)\n', house=house)
    assert found == [("E0409", "main.policy"), ("E0102", "house.policy"), ("E0201", "house.policy")]


def test_duplicate_name_across_files_points_at_both(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, 'use "house.policy"\nboost cheap weight 1 = item.is_ad\n', house=HOUSE)
    (finding,) = caught.value.findings
    assert finding.source is None and finding.code == "E0213"
    (note,) = finding.notes
    assert note.source is not None and Path(note.source.name).name == "house.policy" and note.span.line == 3


@pytest.mark.parametrize("path", ["../main.policy", "/etc/hosts", "a/../../x.policy"])
def test_path_outside_folder_is_refused(tmp_path: Path, path: str) -> None:
    assert codes(tmp_path, f'use "{path}"\nreward a weight 1 = ndcg(next_items)\n') == [("E0503", "main.policy")]


def test_symlink_to_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.policy").write_text(HOUSE)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "house.policy").symlink_to(tmp_path / "secret" / "x.policy")
    assert codes(inside, 'use "house.policy"\nreward a weight 1 = ndcg(next_items)\n') == [("E0503", "main.policy")]


def test_cyclic_use_is_refused(tmp_path: Path) -> None:
    text = 'use "a.policy"\nreward r weight 1 = ndcg(next_items)\n'
    assert codes(tmp_path, text, a='use "b.policy"\n', b='use "a.policy"\n') == [("E0502", "b.policy")]
    assert codes(tmp_path, 'use "main.policy"\nreward r weight 1 = ndcg(next_items)\n') == [("E0502", "main.policy")]


def test_chain_of_300_files_is_read(tmp_path: Path) -> None:
    others = {f"f{i}": f'use "f{i + 1}.policy"\n' for i in range(300)}
    loaded = read(tmp_path, 'use "f0.policy"\n', **others, f300=HOUSE)
    assert len(loaded.policy.sources) == 302


# ---- override


def test_let_override_changes_earlier_uses(tmp_path: Path) -> None:
    loaded = read(tmp_path, 'use "house.policy"\noverride let dear = item.price > 9\n', house=HOUSE)
    assert price_above(loaded.policy.rules[0]) == 9


def test_rule_override_keeps_position_and_sees_lets_above(tmp_path: Path) -> None:
    text = 'use "house.policy"\nlet mine = item.price < 4\noverride boost cheap weight 0.7 = mine limit 2\n'
    cheap, one_voice = read(tmp_path, text, house=HOUSE).policy.rules
    assert (cheap.name, one_voice.name) == ("cheap", "one_voice")
    assert price_above(cheap) == 4 and cheap.weight.base == 0.7
    assert cheap.because is None and isinstance(cheap, typed.Boost) and cheap.limit == 2


def test_last_override_wins(tmp_path: Path) -> None:
    text = 'use "house.policy"\noverride boost cheap weight 1 = dear\noverride boost cheap weight 2 = dear limit 1\n'
    cheap = read(tmp_path, text, house=HOUSE).policy.rules[0]
    assert (cheap.name, cheap.weight.base) == ("cheap", 2)


def test_weight_only_override_keeps_condition(tmp_path: Path) -> None:
    loaded = read(tmp_path, 'use "house.policy"\noverride boost cheap weight 0.9\n', house=HOUSE)
    assert price_above(loaded.policy.rules[0]) == 50 and loaded.policy.rules[0].weight.base == 0.9


def test_override_inside_when_applies_to_its_users(tmp_path: Path) -> None:
    text = 'use "house.policy"\nwhen user.premium {\n  override boost cheap weight 0.9 = dear\n}\n'
    cheap = read(tmp_path, text, house=HOUSE).policy.rules[0]
    assert cheap.name == "cheap" and cheap.weight.only is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("override boost cheep weight 1 = dear\n", "E0505"),
        ("override boost new weight 1\n", "E0505"),
        ("override bury cheap weight 1 = dear\n", "E0506"),
        ("override let cheap = 3\n", "E0506"),
        ("override quota cheap weight 1\n", "E0506"),
        ("let later = item.is_ad\noverride let dear = later\n", "E0207"),
        ("override let dear = dear\n", "E0208"),
        ("boost cheap weight 1\n", "E0434"),
    ],
)
def test_invalid_override_is_refused(tmp_path: Path, text: str, code: str) -> None:
    assert codes(tmp_path, f'use "house.policy"\n{text}', house=HOUSE) == [(code, "main.policy")]


def test_misspelt_override_gets_fix(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, 'use "house.policy"\noverride boost cheep weight 1 = dear\n', house=HOUSE)
    assert [f.fix for f in caught.value.findings] == ["cheap"]


# ---- param

PARAMS = (
    "param strength = 0.3\n"
    "param ads      = 20%\n"
    "param old      = 90 days\n"
    "param start    = 2020-01-01\n"
    'param language = "de"\n'
    "param strict   = true\n"
    "param first    = 3\n"
    "reward a weight strength = mean(item.report_rate) from start\n"
    "boost  b weight ramp 0 to strength over ads of training = item.age > old limit first\n"
    "quota  c weight 1 = at most ads where item.is_ad\n"
    "quota  d weight 1 = at most 1 where item.language in [language] in top first\n"
    "block  e = item.language is language and strict\n"
    "target f = a >= ads of baseline\n"
)


def test_param_replaces_any_literal(tmp_path: Path) -> None:
    policy = read(tmp_path, PARAMS).policy
    a, b, c, d = policy.rules
    assert a.weight.base == 0.3 and b.weight.base == typed.Ramp(a.span, 0, 0.3, 0.2)
    assert isinstance(b, typed.Boost) and b.limit == 3
    assert isinstance(c, typed.Quota) and c.at_most == typed.Bound(a.span, 0.2, True)
    assert isinstance(d, typed.Quota) and d.window == typed.Window(a.span, 3, sliding=False)
    assert policy.targets[0].bound == 0.2 and policy.targets[0].of_baseline
    written = {p.name: p.written for p in policy.params}
    assert written["ads"] == "20%" and written["old"] == "90 days" and written["language"] == '"de"'
    assert not any(p.given for p in policy.params)


def test_param_values_can_be_given(tmp_path: Path) -> None:
    given = {"strength": "0.4", "ads": "30%", "old": "1 week", "language": "fr", "first": "5", "start": "2021-02-03"}
    policy = read(tmp_path, PARAMS, {**given, "strict": "false"}).policy
    a, _, c, d = policy.rules
    assert a.weight.base == 0.4
    assert isinstance(c, typed.Quota) and c.at_most == typed.Bound(a.span, 0.3, True)
    assert isinstance(d, typed.Quota) and d.window == typed.Window(a.span, 5, sliding=False)
    assert {p.name: p.written for p in policy.params} == {
        **given,
        "language": '"fr"',
        "strict": "false",
    }
    assert all(p.given for p in policy.params)


def test_text_param_is_given_with_or_without_quotes(tmp_path: Path) -> None:
    text = 'param genre = "War"\nreward a weight 1 = share(genre in item.genres)\n'
    for given in ("Sci-Fi", '"Sci-Fi"'):
        policy = read(tmp_path, text, {"genre": given}).policy
        assert [p.written for p in policy.params] == ['"Sci-Fi"']


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("strenght", "0.4", "no param `strenght` in this policy"),
        ("strength", "40%", "`strength` is a number, not a percentage"),
        ("ads", "0.2", "`ads` is a percentage, not a number"),
        ("old", "90", "`old` is a duration, not a number"),
        ("old", "90 dais", "`90 dais` is not a duration"),
        ("start", "2026-02-31", "`2026-02-31` is not a date"),
        ("strict", "yes", "`yes` is not a condition (true or false)"),
        ("strength", "0.4\nblock x = item.is_ad", "is not a number"),
        ("strength", "", "`` is not a number"),
        ("language", '"unclosed', '`"unclosed` is not a word'),
    ],
)
def test_invalid_param_value_is_usage_error(tmp_path: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, PARAMS, {name: value})
    assert words in caught.value.message and caught.value.help


def test_misspelt_param_gets_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, PARAMS, {"strenght": "0.4"})
    assert caught.value.help == "did you mean `strength`?"


def test_out_of_range_param_value_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, PARAMS, {"strength": "400"})
    assert [f.code for f in caught.value.findings] == ["E0409", "E0409"]
    assert "strength = 400" in caught.value.findings[0].title


def test_param_can_be_overridden(tmp_path: Path) -> None:
    loaded = read(tmp_path, 'use "house.policy"\noverride param voices = 4\n', house=HOUSE)
    quota = loaded.policy.rules[1]
    assert isinstance(quota, typed.Quota) and quota.at_most == typed.Bound(quota.span, 4, False)

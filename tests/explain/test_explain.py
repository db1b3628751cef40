"""Checks `recpolicy explain` for a policy, one of its rules, an error code and one slate."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recpolicy.cli import main
from recpolicy.data import simulate
from recpolicy.dataset.columns import WordColumn
from recpolicy.dataset.rows import Dataset

POLICY = """\
policy "feed" {
  language = 1
  data     = "simulator"
  slate    = 6
}
reward variety weight 0.5 = distance(item.genres)
boost  short   weight 0.2 = item.length < 60 seconds limit 2
bury   ads     weight 0.1 = item.is_ad
quota one_voice weight 0.2 = at most 1 per item.creator
quota starters weight 0.1 = at least 1 where item.is_ad
block reported = item.report_rate > 90% because "the law asks for it"
when user.age < 18 {
  quota calm weight 0.1 = at most 4 per item.language
}
"""


@pytest.fixture
def feed(tmp_path: Path) -> str:
    path = tmp_path / "feed.policy"
    path.write_text(POLICY, "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return simulate().dataset


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 2
    return capsys.readouterr().err


def test_policy_page_has_all_headings(feed: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = explained(capsys, feed)
    headings = ["What counts, and how much", "What a list should hold", "What is never shown", "For whom it differs"]
    assert [line for line in page.splitlines() if line in headings] == headings
    assert "Why: The law asks for it." in page


def test_single_rule_is_explained(feed: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(explained(capsys, feed, "short").split())
    assert text.startswith("short Adds up to 18% of the whole. It counts the places where the item's length is below")
    assert "never shown" in explained(capsys, feed, "reported")


def test_engineer_option_shows_formulas(feed: str, capsys: pytest.CaptureFixture[str]) -> None:
    one, whole = explained(capsys, feed, "variety", "--engineer"), explained(capsys, feed, "--engineer")
    assert "m(r) = sum_(s < r) d(i_s, i_r) / 15" in one and "[B, 6]" in one
    assert all(f" {name}\n" in whole for name in ("variety", "short", "ads", "one_voice", "reported", "calm"))


def test_error_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys, "e0203").startswith("E0203")


def test_unknown_rule_gets_suggestion(feed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean `one_voice`?" in refused(capsys, feed, "onevoise")


def test_unknown_policy_gets_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean the sample policy `balanced`?" in refused(capsys, "balansed")


@pytest.mark.parametrize("arguments", [["E0203"], ["balanced"], ["balanced", "spread", "--engineer"]])
def test_explain_loads_no_heavy_libraries(arguments: list[str]) -> None:
    script = "import sys; from recpolicy.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    process = subprocess.run(
        [sys.executable, "-c", script, "explain", *arguments], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in process.stderr.split()}
    assert "recpolicy" in loaded and not loaded & {"numpy", "pyarrow", "torch"}


# ---- the ledger of one list -----------------------------------------------------------------------------------------


def creators(data: Dataset) -> list[str]:
    column = data.items.columns["creator"]
    assert isinstance(column, WordColumn)
    return [column.words[code] for code in column.values]


def test_ledger_parts_sum_to_total(feed: str, data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, feed, "--user", data.user_ids[0], "--slate", ",".join(data.item_ids[:6]))
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if re.match(r"  [a-z_]+ .*[+-]\d", line)}
    number = [float(cell.strip("?")) if cell != "." else 0.0 for cell in rows["variety"][:6]]
    assert sum(number) == pytest.approx(float(rows["variety"][6]), abs=3e-3)
    whole = rows.pop("whole")
    parts = [float(cell) for row in rows.values() for cell in row[8:9] if cell != "-"]
    assert sum(parts) == pytest.approx(float(whole[-1]), abs=4e-3)
    assert sum(float(c) if c != "." else 0.0 for c in whole[:6]) == pytest.approx(float(whole[-1]), abs=4e-3)


def test_quota_violation_names_place(feed: str, data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    by = creators(data)
    first = next(i for i, name in enumerate(by) if by.count(name) >= 2)
    second = by.index(by[first], first + 1)
    others = [i for i, name in enumerate(by) if name != by[first]]
    slate = ",".join(data.item_ids[i] for i in (first, others[0], second))
    out = explained(capsys, feed, "--user", data.user_ids[0], "--slate", slate)
    line = " ".join(out[out.index("`one_voice`") :].split("`")[2].split())
    assert "not met; place 3 is in excess; places 4, 5 and 6 are empty" in line
    assert f"Place 3 is the second of “{by[first]}”." in line


def test_taken_items_and_holes_are_marked(feed: str, data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    taken = data.item_ids[data.item[0]]
    out = explained(capsys, feed, "--user", data.user_ids[0], "--slate", f"hole,{taken}")
    assert re.search(r"^ +1  \(empty\)$", out, re.M)
    assert re.search(rf"^ +2  .*{re.escape(taken)}\)?: taken before$", out, re.M)


def test_blocked_item_is_marked_and_zeroes_rewards(
    tmp_path: Path, data: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "strict.policy"
    path.write_text(POLICY.replace("item.report_rate > 90%", f'item.id is "{data.item_ids[3]}"'), "utf-8")
    slate = ",".join(data.item_ids[i] for i in (2, 3, 4))
    out = explained(capsys, str(path), "--user", data.user_ids[0], "--slate", slate)
    assert "What is never shown stands in place 2" in out
    assert re.search(r"^  place +1 +2x +3", out, re.M)
    assert re.search(r"^  variety +\. +\. +\. +\. +\. +\. +\. ", out, re.M)
    assert re.search(r"^  ads +\. +1\.000 +\. .* -0\.\d+", out, re.M)


def test_slate_option_accepts_titles(feed: str, data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    column = data.items.columns["title"]
    assert isinstance(column, WordColumn)
    titles = [column.words[code] for code in column.values]
    row = next(i for i, title in enumerate(titles) if titles.count(title) == 1)
    by_title = explained(capsys, feed, "--user", data.user_ids[0], "--slate", titles[row])
    assert by_title == explained(capsys, feed, "--user", data.user_ids[0], "--slate", data.item_ids[row])


def test_rule_for_other_users_is_marked(feed: str, data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    ages = data.users.columns["age"].values
    adult = next(u for u, age in enumerate(ages) if age >= 18)  # type: ignore[arg-type]
    out = explained(capsys, feed, "--user", data.user_ids[adult], "--slate", data.item_ids[0])
    assert "`calm`: says nothing here: it is for other users." in out


@pytest.mark.parametrize(
    ("user", "slate", "message"),
    [
        ("nobody at all", "0", "no user `nobody at all` in simulator"),
        (None, "no such thing", "no item `no such thing` in simulator"),
        (None, "{0},{0}", "`{0}` stands twice"),
        (None, "{0},{1},{2},{3},{4},{5},{6}", "7 items, but a list has 6 places"),
    ],
)
def test_unknown_user_or_item_is_refused(
    feed: str, data: Dataset, capsys: pytest.CaptureFixture[str], user: str | None, slate: str, message: str
) -> None:
    error = refused(capsys, feed, "--user", user or data.user_ids[0], "--slate", slate.format(*data.item_ids))
    assert message.format(*data.item_ids) in error and "help:" in error


def test_slate_option_needs_user(feed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give both: --user ID --slate" in refused(capsys, feed, "--slate", "1,2")

"""Checks that the files of `recpolicy init` pass `check`, `fmt --check` and `test` for any data folder."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpolicy import cli, data, schema
from recpolicy.dataset.columns import ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.tables import infer, source
from recpolicy.types import Type

REAL = Path(__file__).parents[2].parent / "shared" / "data"
NAMES = ("price", "is_ad", "report_rate", "published", "creator_id", "tags", "title", "language", "length_s", "in",
         "release year", "weight", 'a "b"', "größe", "has_video", "x`y")  # fmt: skip
WORDS = ("red", "green", "blue", "don't", 'say "so"', "a,b", "")


def write(folder: Path, name: str, columns: Mapping[str, list[Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))


def succeeds(folder: Path) -> None:
    """Runs the commands over the policy in the folder."""
    (policy,) = folder.glob("*.policy")
    assert cli.main(["check", str(policy)]) == 0
    assert cli.main(["fmt", "--check", str(policy)]) == 0
    assert cli.main(["test", str(policy)]) == 0


def uncommented(text: str) -> str:
    """Returns the policy with its commented suggestions switched on."""
    before, mark, after = text.partition("# More that these columns allow.")
    lines = after.split("\n")[1:]
    return before + "\n".join(re.sub(r"^# ", "", line) for line in lines) if mark else text


def cells(dataset: Dataset, of: str) -> dict[str, list[Any]]:
    """Returns the columns of a table as a CSV file holds them."""
    specs, table = (
        (dataset.schema.item, dataset.items) if of == "item" else (dataset.schema.user, dataset.users)
    )  # fmt: skip
    out: dict[str, list[Any]] = {}
    for name, spec in specs.items():
        if spec.source is None:
            continue
        match table.columns[name]:
            case NumberColumn(kind, values):
                date = kind is Type.DATE
                out[spec.source] = [
                    "" if np.isnan(v) else str(np.datetime64(int(v), "s")) if date else f"{v:.12g}" for v in values
                ]
            case TruthColumn(_, truth):
                out[spec.source] = [("false", "", "true")[t] for t in truth]
            case WordColumn(_, codes, words):
                out[spec.source] = ["" if c < 0 else words[c] for c in codes]
            case ListColumn(_, lists, words, _):
                out[spec.source] = ["|".join(words[c] for c in lists.row(i)) for i in range(len(lists))]
    return out


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """The simulator, written out as CSV without a schema."""
    dataset = data.open("simulator")
    folder = tmp_path / "platform"
    write(folder, "items", cells(dataset, "item"))
    write(folder, "users", cells(dataset, "user"))
    user = np.repeat(np.arange(dataset.users.rows), np.diff(dataset.start))
    log = {
        "user_id": [dataset.user_ids[u] for u in user],
        "item_id": [dataset.item_ids[i] for i in dataset.item],
        "timestamp": [f"{t:.0f}" for t in dataset.time],
    }
    write(folder, "interactions", log)
    return folder


def test_init_output_passes_all_commands(platform: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", str(platform)]) == 0
    output = capsys.readouterr().out
    assert f"wrote {platform / 'schema.toml'}" in output and f"recpolicy test {platform / 'platform.policy'}" in output
    succeeds(platform)
    assert cli.main(["check", str(platform / "platform.policy"), "--data", str(platform)]) == 0


def test_platform_policy_has_rule_for_each_column(platform: Path) -> None:
    cli.main(["init", str(platform)])
    text = (platform / "platform.policy").read_text("utf-8")
    for rule in (
        "reward relevance weight 0.6 = ndcg(next_items)",
        "reward variety weight 0.2 = distance(item.genres)",
        "reward surprise weight 0.1 = novelty(item.popularity)",
        "at most 2 per item.creator",
        "at least 1 where item.published within the last ",
        "at most 1 where item.is_ad",
        "# bury doubtful weight 0.2 = item.report_rate > ",
        "# reward shared weight 0.1 = share(item.language is user.language)",
        "# when user.",
    ):
        assert rule in text, rule


def test_commented_suggestions_are_valid(platform: Path) -> None:
    cli.main(["init", str(platform)])
    policy = platform / "platform.policy"
    policy.write_text(uncommented(policy.read_text("utf-8")), "utf-8")
    assert "\nbury doubtful" in policy.read_text("utf-8") and "\nwhen user." in policy.read_text("utf-8")
    assert cli.main(["check", str(policy)]) == 0
    assert cli.main(["test", str(policy)]) == 0


def test_written_schema_reads_same_data(platform: Path) -> None:
    before = data.open(platform)
    cli.main(["init", str(platform)])
    assert data.open(platform).digest == before.digest


def test_schema_explains_every_column(platform: Path) -> None:
    cli.main(["init", str(platform)])
    text = (platform / "schema.toml").read_text("utf-8")
    stated = tomllib.loads(text)
    assert set(stated["item"]) == {
        "id", "title", "genres", "creator", "published", "length_s", "language", "is_ad", "report_rate", "age_rating"
    }  # fmt: skip
    lines = text.splitlines()
    for of in ("item", "user"):
        for name in stated[of]:
            at = next(i for i, line in enumerate(lines) if line.startswith(f"{name} = {{"))
            assert lines[at - 1].startswith("# "), name
    assert 'is it a time span? Then write type = "duration"' in text


@pytest.mark.parametrize("name", ["schema.toml", "platform.policy"])
def test_existing_file_is_not_overwritten(platform: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = platform / "mine"
    path = out / name
    out.mkdir()
    path.write_text("precious")
    assert cli.main(["init", str(platform), "--out", str(out)]) == 2
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == "precious" and list(out.iterdir()) == [path]


def test_second_init_is_refused(platform: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["init", str(platform)])
    assert cli.main(["init", str(platform)]) == 2
    assert str(platform / "platform.policy") in capsys.readouterr().err


def test_existing_schema_is_used(platform: Path) -> None:
    cli.main(["init", str(platform)])
    path = platform / "schema.toml"
    path.write_text(
        path.read_text("utf-8").replace("is_ad = ", 'promo = { column = "is_ad", type = "bool" }\n# '), "utf-8"
    )
    text = path.read_text("utf-8")
    (platform / "platform.policy").unlink()
    assert cli.main(["init", str(platform)]) == 0
    assert path.read_text("utf-8") == text
    assert "where item.is_ad" not in (platform / "platform.policy").read_text("utf-8")
    succeeds(platform)


def test_out_option_leaves_data_folder_unchanged(platform: Path, tmp_path: Path) -> None:
    before = sorted(platform.iterdir())
    assert cli.main(["init", str(platform), "--out", str(tmp_path / "new" / "place")]) == 0
    assert sorted(platform.iterdir()) == before
    assert sorted(p.name for p in (tmp_path / "new" / "place").iterdir()) == ["platform.policy", "schema.toml"]
    succeeds(tmp_path / "new" / "place")


@pytest.mark.parametrize(
    ("folder", "words"),
    [("nowhere", "does not exist"), ("simulator", "comes with its schema"), ("ml-100k", "comes with its schema")],
)
def test_non_data_folder_is_refused(folder: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", folder]) == 2
    assert words in capsys.readouterr().err


# ---- folders drawn at random ----------------------------------------------------------------------------------------

values = {
    "word": st.sampled_from(WORDS),
    "number": st.one_of(st.just(""), st.integers(-5, 4000).map(str)),
    "fraction": st.one_of(st.just(""), st.floats(0, 1).map(lambda v: f"{v:.3f}")),
    "truth": st.sampled_from(("true", "false")),
    "date": st.one_of(st.just(""), st.dates().map(lambda d: d.replace(year=2000 + d.year % 24).isoformat())),
}
kinds = {"published": st.just("date"), "is_ad": st.just("truth"), "report_rate": st.just("fraction")}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, dict[str, list[str]]]:
    """Items and users with columns of any kind under any name, and a log with or without time stamps."""
    out: dict[str, dict[str, list[str]]] = {}
    for of, rows in (("item", draw(st.integers(1, 40))), ("user", draw(st.integers(1, 5)))):
        columns = {f"{of}_id": [f"{of[0]}{i}" for i in range(rows)]}
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=8)):
            kind = draw(kinds.get(name, st.sampled_from(sorted(values))))
            columns[name] = draw(st.lists(values[kind], min_size=rows, max_size=rows))
        out[f"{of}s"] = columns
    events = draw(st.integers(1, 30))
    log = {f"{of}_id": draw(st.lists(st.sampled_from(out[f"{of}s"][f"{of}_id"]), min_size=events, max_size=events))
           for of in ("user", "item")}  # fmt: skip
    timed = draw(st.booleans())
    log["timestamp" if timed else "order"] = [str(1_600_000_000 * timed + 86_400 * i) for i in range(events)]
    return {**out, "interactions": log}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(folder_tables=tables())
def test_random_tables_get_valid_schema_and_policy(
    folder_tables: dict[str, dict[str, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any") / "any data"
    for name, columns in folder_tables.items():
        write(folder, name, columns)
    inferred, _ = infer.schema(source.find(folder), name="any data")
    before = data.open(folder)
    assert cli.main(["init", str(folder)]) == 0
    stated = schema.load(folder / "schema.toml")
    assert (stated.item, stated.user) == (inferred.item, inferred.user)
    assert data.open(folder).digest == before.digest
    succeeds(folder)
    (policy,) = folder.glob("*.policy")
    policy.write_text(uncommented(policy.read_text("utf-8")), "utf-8")
    assert cli.main(["check", str(policy)]) == 0


@pytest.mark.parametrize("name", ["goodbooks", "kuairand-pure", "ml-latest-small"])
def test_init_on_real_datasets(name: str, tmp_path: Path) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"the data set {name} is not beside the repository")
    assert cli.main(["init", str(REAL / name), "--out", str(tmp_path)]) == 0
    succeeds(tmp_path)

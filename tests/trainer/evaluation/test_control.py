"""The control's strength: chosen by what validation users really took, and by users as they stand in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.dataset.columns import Codes, TruthColumn
from recpolicy.dataset.rows import Chances, Rows, Slates
from recpolicy.evaluation.targets import outcomes
from recpolicy.trainer.evaluation.aims import aims
from recpolicy.trainer.evaluation.rerank_control import STRENGTHS, STRONGEST, Control, tune
from recpolicy.trainer.evaluation.validation import DRAWS
from tests.trainer.evaluation.test_validation import with_final
from tests.trainer.stages.test_grpo import Course, course

RELEVANCE = "reward relevance weight 1 = ndcg(next_items)\n"


def real(rows: Rows, right: int) -> Codes:
    """Lists whose first so many places are what the users really took; all else they did not take."""
    out = []
    for i in range(len(rows)):
        took, seen = rows.next_items.row(i).tolist(), {*rows.history.row(i).tolist()}
        others = [item for item in range(100, 200) if item not in took and item not in seen]
        out.append([*took[:right], *others][:4])
    return np.array(out, np.int32)


def misled(rows: Rows, items: int) -> Rows:
    """Rows by whose chances users will take anything but what they really took."""
    table = np.full((len(rows), items), 0.3, np.float32)
    for i in range(len(rows)):
        table[i, rows.next_items.row(i)] = 0.0
    return replace(rows, chances=Chances(table, np.arange(len(rows)), np.full(len(rows), 10, np.int64)))


def controls(made: Course, lists: Mapping[float, Codes], final: Mapping[float, Codes]) -> tuple[Control, Control]:
    """Controls that have made their lists already."""
    validation = made.validation
    assert validation.final is not None
    return tuple(  # type: ignore[return-value]
        Control(made.computer.compiled, examiner.rows, examiner.legal, {s: Slates(items) for s, items in own.items()})
        for examiner, own in ((validation.examiner, lists), (validation.final, final))
    )


def ended(made: Course) -> Codes:
    """Any lists of the users as they stand in the end."""
    assert made.validation.final_baseline is not None
    return made.validation.final_baseline.items


@pytest.mark.parametrize("best", [0.0, 0.4, 3.2])
def test_strength_is_chosen_by_what_users_really_took(best: float, tmp_path: Path) -> None:
    made = with_final(course(RELEVANCE, tmp_path))
    rows = made.validation.examiner.rows
    examiner = replace(made.validation.examiner, rows=misled(rows, made.computer.items))
    made = replace(made, validation=replace(made.validation, examiner=examiner))
    grid = [*STRENGTHS, 3.2, 6.4]
    right = {s: max(0, 3 - abs(grid.index(s) - grid.index(best))) for s in grid}
    lists = {s: real(rows, right[s]) for s in grid}
    control, final = controls(made, lists, dict.fromkeys(grid, ended(made)))
    found, standings = tune(control, final, made.validation)
    assert found == best
    assert list(standings) == (grid if best > STRENGTHS[-1] else [*STRENGTHS]), "it grows while its strongest is best"
    for strength, standing in standings.items():
        wanted = made.computer.compiled.total(rows, Slates(lists[strength])).mean()
        assert standing.reward == pytest.approx(float(wanted))
        expected = made.validation.standing(Slates(lists[strength]), None).reward
        assert abs(expected - standing.reward) > 0.01


def test_a_grid_that_grows_ends_at_the_strongest_of_all(tmp_path: Path) -> None:
    made = with_final(course(RELEVANCE, tmp_path))
    rows, grid = made.validation.examiner.rows, list(STRENGTHS)
    while grid[-1] < STRONGEST:
        grid.append(2 * grid[-1])
    served = {s: np.arange(len(rows))[:, None] < 2 * i for i, s in enumerate(grid)}  # the stronger, the more users
    lists = {s: np.where(some, real(rows, 4), real(rows, 0)) for s, some in served.items()}
    control, final = controls(made, lists, dict.fromkeys(grid, ended(made)))
    found, standings = tune(control, final, made.validation)
    assert found == grid[-1] and list(standings) == grid


def test_targets_without_labels_are_chosen_by_on_lists_for_users_as_they_stand_in_the_end(tmp_path: Path) -> None:
    made = with_final(course(RELEVANCE + "target ads = share(item.is_ad) >= 60%\n", tmp_path))
    compiled, rows = made.computer.compiled, made.validation.examiner.rows
    assert made.validation.final is not None and made.validation.final_baseline is not None
    later = made.validation.final.rows
    ads = data.open("simulator").items.columns["is_ad"]
    assert isinstance(ads, TruthColumn)
    paid, free = (np.flatnonzero(ads.values == truth).astype(np.int32)[:4] for truth in (2, 0))
    full, empty = (np.tile(items, (len(later), 1)) for items in (paid, free))
    now = np.tile(paid, (len(rows), 1))  # of the validation users, all lists are full of them
    lists = dict.fromkeys(STRENGTHS, now) | {0.1: real(rows, 4)}
    ends = dict.fromkeys(STRENGTHS, empty) | {0.8: full}
    control, final = controls(made, lists, ends)
    found, standings = tune(control, final, made.validation)
    assert found == 0.8, "the only one whose lists keep the target in the end"
    for strength, standing in standings.items():
        of = (compiled, later, Slates(ends[strength]), made.validation.final_baseline)
        [wanted] = aims(outcomes(*of, seed=0, draws=DRAWS), len(later), len(later))
        assert standing.aims == (wanted,)
        assert standing.slates is control.slates(strength)

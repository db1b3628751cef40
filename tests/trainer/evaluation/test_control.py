"""Checks the choice of the control's strength: by real labels, and on the final users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.dataset.columns import Codes, TruthColumn
from recpolicy.dataset.rows import LabelProbabilities, Rows, Slates
from recpolicy.evaluation.targets import outcomes
from recpolicy.trainer.evaluation.aims import aims
from recpolicy.trainer.evaluation.rerank_control import STRENGTHS, STRONGEST, RerankControl, tune
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
    """Rows by whose label probabilities users will take anything but what they really took."""
    table = np.full((len(rows), items), 0.3, np.float32)
    for i in range(len(rows)):
        table[i, rows.next_items.row(i)] = 0.0
    return replace(
        rows, label_probabilities=LabelProbabilities(table, np.arange(len(rows)), np.full(len(rows), 10, np.int64))
    )


def controls(
    made: Course, lists: Mapping[float, Codes], final: Mapping[float, Codes]
) -> tuple[RerankControl, RerankControl]:
    """Controls that have made their lists already."""
    validation = made.validation
    assert validation.final is not None
    return tuple(  # type: ignore[return-value]
        RerankControl(
            made.computer.compiled, evaluator.rows, evaluator.legal, {s: Slates(items) for s, items in own.items()}
        )
        for evaluator, own in ((validation.evaluator, lists), (validation.final, final))
    )


def ended(made: Course) -> Codes:
    """Any lists of the users as they stand in the end."""
    assert made.validation.final_baseline is not None
    return made.validation.final_baseline.items


@pytest.mark.parametrize("best", [0.0, 0.4, 3.2])
def test_strength_is_chosen_by_real_labels(best: float, tmp_path: Path) -> None:
    made = with_final(course(RELEVANCE, tmp_path))
    rows = made.validation.evaluator.rows
    evaluator = replace(made.validation.evaluator, rows=misled(rows, made.computer.items))
    made = replace(made, validation=replace(made.validation, evaluator=evaluator))
    grid = [*STRENGTHS, 3.2, 6.4]
    right = {s: max(0, 3 - abs(grid.index(s) - grid.index(best))) for s in grid}
    lists = {s: real(rows, right[s]) for s in grid}
    control, final = controls(made, lists, dict.fromkeys(grid, ended(made)))
    found, results = tune(control, final, made.validation)
    assert found == best
    assert list(results) == (grid if best > STRENGTHS[-1] else [*STRENGTHS]), "it grows while its strongest is best"
    for strength, result in results.items():
        wanted = made.computer.compiled.total(rows, Slates(lists[strength])).mean()
        assert result.reward == pytest.approx(float(wanted))
        expected = made.validation.evaluate_slates(Slates(lists[strength]), None).reward
        assert abs(expected - result.reward) > 0.01


def test_growing_grid_stops_at_strongest(tmp_path: Path) -> None:
    made = with_final(course(RELEVANCE, tmp_path))
    rows, grid = made.validation.evaluator.rows, list(STRENGTHS)
    while grid[-1] < STRONGEST:
        grid.append(2 * grid[-1])
    served = {s: np.arange(len(rows))[:, None] < 2 * i for i, s in enumerate(grid)}  # the stronger, the more users
    lists = {s: np.where(some, real(rows, 4), real(rows, 0)) for s, some in served.items()}
    control, final = controls(made, lists, dict.fromkeys(grid, ended(made)))
    found, results = tune(control, final, made.validation)
    assert found == grid[-1] and list(results) == grid


def test_label_free_targets_choose_strength_on_final_users(tmp_path: Path) -> None:
    made = with_final(course(RELEVANCE + "target ads = share(item.is_ad) >= 60%\n", tmp_path))
    compiled, rows = made.computer.compiled, made.validation.evaluator.rows
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
    found, results = tune(control, final, made.validation)
    assert found == 0.8, "the only one whose lists keep the target in the end"
    for strength, result in results.items():
        of = (compiled, later, Slates(ends[strength]), made.validation.final_baseline)
        [wanted] = aims(outcomes(*of, seed=0, draws=DRAWS), len(later), len(later))
        assert result.aims == (wanted,)
        assert result.slates is control.slates(strength)

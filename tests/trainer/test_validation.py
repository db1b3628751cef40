"""How a model stands while it is trained: on the validation users, and on those it is judged on in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy.demands import Outcome, outcomes
from recpolicy.trainer.evaluate import Examiner
from recpolicy.trainer.multipliers import aims
from recpolicy.trainer.validation import DRAWS
from tests.trainer.test_grpo import Course, course

RULES = (
    "reward relevance weight 1 = ndcg(next_items)\ntarget ads = share(item.is_ad) >= 5%\n"
    "target keep = relevance >= 90% of baseline\ntarget fewer = share(item.is_ad) <= 110% of baseline\n"
)


def with_final(made: Course) -> Course:
    """The course with other users, of other histories, as those who are judged on in the end."""
    examiner = made.validation.examiner
    rows = made.judge.rows.take(np.arange(0, 100, 5))
    final = replace(examiner, rows=rows, prompts=examiner.prompts[:20], legal=made.judge.compiled.servable(rows))
    baseline = replace(made.validation.baseline, items=np.roll(final.greedy(made.recommender).items, 1, 0))
    return replace(made, validation=replace(made.validation, final=final, final_baseline=baseline))


def test_targets_without_labels_are_measured_on_the_users_of_the_end(tmp_path: Path) -> None:
    made = with_final(course(RULES, tmp_path))
    validation, compiled = made.validation, made.judge.compiled
    assert validation.final is not None and validation.final_baseline is not None
    slates, final = validation.examiner.greedy(made.recommender), validation.final.greedy(made.recommender)

    def measured(examiner: Examiner, *both: object) -> dict[str, Outcome]:
        found = outcomes(compiled, examiner.rows, *both, seed=0, draws=DRAWS)  # type: ignore[arg-type]
        return {outcome.name: outcome for outcome in found}

    held_out = measured(validation.examiner, slates, validation.baseline)
    later = measured(validation.final, final, validation.final_baseline)
    found = {aim.name: aim for aim in validation.of(made.recommender).aims}
    assert list(found) == ["ads", "keep", "fewer"]
    for name, outcome in (("ads", later["ads"]), ("keep", held_out["keep"]), ("fewer", later["fewer"])):
        assert (found[name].value, found[name].bound) == (outcome.value, outcome.bound)
    assert held_out["ads"].value != later["ads"].value and held_out["fewer"].bound != later["fewer"].bound
    [wanted] = aims([later["ads"]], 20, 20, same_users=True)
    assert found["ads"].aim == wanted.aim
    [wanted] = aims([held_out["keep"]], len(validation.examiner.rows), validation.judged_on)
    assert found["keep"].aim == wanted.aim
    standing = validation.standing(slates, final)
    assert standing.aims == validation.of(made.recommender).aims
    assert standing.reward == pytest.approx(float(compiled.total(validation.examiner.rows, slates).mean()))
    assert validation.standing(slates).aims == replace(validation, final=None).of(made.recommender).aims


def test_where_no_target_does_without_labels_the_users_of_the_end_are_not_asked(tmp_path: Path) -> None:
    made = with_final(course(RULES.splitlines()[0] + "\ntarget keep = relevance >= 90% of baseline\n", tmp_path))
    broken = replace(made.validation, final=replace(made.validation.examiner, prompts=[]), final_baseline=None)
    assert broken.of(made.recommender).aims == replace(broken, final=None).of(made.recommender).aims

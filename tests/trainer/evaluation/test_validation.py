"""Checks validation during training, on the validation users and on the final users."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy.dataset.rows import LabelProbabilities
from recpolicy.evaluation.guardrail import SUFFIX, guarded
from recpolicy.evaluation.targets import Outcome, outcomes
from recpolicy.trainer.evaluation.aims import MARGIN, SLACK, aims
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.evaluation.validation import DRAWS, Validation
from tests.trainer.stages.test_grpo import Course, course

RULES = (
    "reward relevance weight 1 = ndcg(next_items)\ntarget ads = share(item.is_ad) >= 5%\n"
    "target keep = relevance >= 90% of baseline\ntarget fewer = share(item.is_ad) <= 110% of baseline\n"
)


def with_final(made: Course) -> Course:
    """The course with other users, of other histories, as those who are judged on in the end."""
    evaluator = made.validation.evaluator
    rows = made.computer.rows.take(np.arange(0, 100, 5))
    final = replace(evaluator, rows=rows, prompts=evaluator.prompts[:20], legal=made.computer.compiled.servable(rows))
    baseline = replace(made.validation.baseline, items=np.roll(final.greedy(made.recommender).items, 1, 0))
    return replace(made, validation=replace(made.validation, final=final, final_baseline=baseline))


def test_label_free_targets_are_measured_on_final_users(tmp_path: Path) -> None:
    made = with_final(course(RULES, tmp_path))
    validation, compiled = made.validation, made.computer.compiled
    assert validation.final is not None and validation.final_baseline is not None
    slates, final = validation.evaluator.greedy(made.recommender), validation.final.greedy(made.recommender)

    def measured(evaluator: Evaluator, *both: object) -> dict[str, Outcome]:
        found = outcomes(compiled, evaluator.rows, *both, seed=0, draws=DRAWS)  # type: ignore[arg-type]
        return {outcome.name: outcome for outcome in found}

    held_out = measured(validation.evaluator, slates, validation.baseline)
    later = measured(validation.final, final, validation.final_baseline)
    found = {aim.name: aim for aim in validation.of(made.recommender).aims}
    assert list(found) == ["ads", "keep", "fewer"]
    for name, outcome in (("ads", later["ads"]), ("keep", held_out["keep"]), ("fewer", later["fewer"])):
        assert (found[name].value, found[name].bound) == (outcome.value, outcome.bound)
    assert held_out["ads"].value != later["ads"].value and held_out["fewer"].bound != later["fewer"].bound
    [wanted] = aims([later["ads"]], 20, 20)
    assert found["ads"].aim == wanted.aim
    [wanted] = aims([held_out["keep"]], len(validation.evaluator.rows), validation.judged_on)
    assert found["keep"].aim == wanted.aim
    result = validation.evaluate_slates(slates, final)
    assert result.aims == validation.of(made.recommender).aims
    assert result.reward == pytest.approx(float(compiled.total(validation.evaluator.rows, slates).mean()))
    assert validation.evaluate_slates(slates).aims == replace(validation, final=None).of(made.recommender).aims


def test_final_users_are_unused_without_label_free_targets(tmp_path: Path) -> None:
    made = with_final(course(RULES.splitlines()[0] + "\ntarget keep = relevance >= 90% of baseline\n", tmp_path))
    broken = replace(made.validation, final=replace(made.validation.evaluator, prompts=[]), final_baseline=None)
    assert broken.of(made.recommender).aims == replace(broken, final=None).of(made.recommender).aims


# ---- in expectation -------------------------------------------------------------------------------------------------


def expecting(made: Course) -> Validation:
    """The course's validation, with label probabilities too: of what users took, and of as much besides."""
    validation, items = made.validation, made.computer.items
    rows = validation.evaluator.rows
    table = np.full((len(rows), items), 0.01, np.float32)
    rng = np.random.default_rng(0)
    for i in range(len(rows)):
        table[i, rows.next_items.row(i)] = rng.uniform(0.1, 0.6)
        table[i, rng.permutation(items)[:20]] += 0.2
    count = np.full(len(rows), 10, np.int64)
    evaluator = replace(
        validation.evaluator,
        rows=replace(rows, label_probabilities=LabelProbabilities(table, np.arange(len(rows)), count)),
    )
    return replace(validation, evaluator=evaluator)


def taken(made: Course) -> Validation:
    """The same validation whose baseline is what the users really took, one of them wrong in every other list."""
    rows = made.validation.evaluator.rows
    lists = [[*rows.next_items.row(i).tolist(), -1, -1, -1, -1][:4] for i in range(len(rows))]
    slates = replace(made.validation.baseline, items=np.array(lists, np.int32))
    slates.items[::2, 0] = made.validation.baseline.items[::2, 0]
    return replace(made.validation, baseline=slates)


LABELLED = (
    "reward relevance weight 0.5 = ndcg(next_items)\nreward variety weight 0.5 = distance(item.genres)\n"
    "target keep = relevance >= 80% of baseline\ntarget found = hit(next_items) >= 20%\n"
    "target ads = share(item.is_ad) >= 5%\n"
)


def test_expected_labels_set_value_and_real_labels_set_interval(tmp_path: Path) -> None:
    made = course(LABELLED, tmp_path)
    validation = replace(expecting(replace(made, validation=taken(made))), judged_on=120)
    compiled = made.computer.compiled
    rows, users = validation.evaluator.rows, len(validation.evaluator.rows)
    real = replace(rows, label_probabilities=None)
    slates = replace(validation.baseline, items=np.roll(validation.baseline.items, 1, 1))
    slates.items[:9] = slates.items[9:18]  # some have a list that is another's
    found = {aim.name: aim for aim in validation.evaluate_slates(slates).aims}
    expected, really = (
        {o.name: o for o in outcomes(compiled, of, slates, validation.baseline, seed=0, draws=DRAWS)}
        for of in (rows, real)
    )
    assert list(found) == ["keep", "found", "ads"]
    for name, aim in found.items():
        assert (aim.value, aim.bound) == (expected[name].value, expected[name].bound)
    assert expected["keep"].bound != pytest.approx(really["keep"].bound, rel=0.05)
    for name, scale in (("keep", expected["keep"].bound / really["keep"].bound), ("found", 1.0), ("ads", 1.0)):
        half = (really[name].value - really[name].low) * scale
        margin = MARGIN * half * (users / validation.judged_on) ** 0.5
        assert found[name].aim == pytest.approx(min(found[name].bound + margin, 1.0)) and half > 0.001
    assert validation.evaluate_slates(slates).reward == pytest.approx(float(compiled.total(rows, slates).mean()))
    assert compiled.total(rows, slates).mean() != pytest.approx(compiled.total(real, slates).mean(), rel=0.01)


def test_real_labels_ignore_chances(tmp_path: Path) -> None:
    made = course(LABELLED, tmp_path)
    plain = made.validation
    slates = plain.evaluator.greedy(made.recommender)
    one, two = expecting(made).with_real_labels.evaluate_slates(slates), plain.evaluate_slates(slates)
    assert one.aims == two.aims and one.reward == two.reward
    assert expecting(made).evaluate_slates(slates).reward != one.reward
    assert expecting(made).with_real_labels.with_real_labels.evaluate_slates(slates).aims == one.aims


def test_expected_guardrail_is_share_of_expected_baseline(tmp_path: Path) -> None:
    made = course("\n".join(LABELLED.splitlines()[:2]) + "\n", tmp_path)
    validation = replace(expecting(made), compiled=guarded(made.computer.compiled))
    rows, baseline = validation.evaluator.rows, validation.baseline
    [aim] = validation.evaluate_slates(baseline).aims
    bound = float(validation.compiled.values(rows, baseline)["relevance"].mean())
    assert aim.name == f"relevance{SUFFIX}" and bound > 0
    assert [aim.value, aim.bound, aim.aim, aim.slack] == pytest.approx([bound, bound, bound, SLACK * bound])


def test_label_free_targets_ignore_expected_labels(tmp_path: Path) -> None:
    made = with_final(course(RULES, tmp_path))
    validation = expecting(made)
    assert validation.final is not None
    slates, final = validation.evaluator.greedy(made.recommender), validation.final.greedy(made.recommender)
    by_probabilities, by_labels = (
        {a.name: a for a in v.evaluate_slates(slates, final).aims} for v in (validation, made.validation)
    )
    assert all(by_probabilities[name] == by_labels[name] for name in ("ads", "fewer"))
    assert by_probabilities["keep"].value != by_labels["keep"].value

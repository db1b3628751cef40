"""How a model stands while it is trained: on the validation users, and on those it is judged on in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy.dataset.rows import Chances
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
    examiner = made.validation.examiner
    rows = made.computer.rows.take(np.arange(0, 100, 5))
    final = replace(examiner, rows=rows, prompts=examiner.prompts[:20], legal=made.computer.compiled.servable(rows))
    baseline = replace(made.validation.baseline, items=np.roll(final.greedy(made.recommender).items, 1, 0))
    return replace(made, validation=replace(made.validation, final=final, final_baseline=baseline))


def test_targets_without_labels_are_measured_on_the_users_of_the_end(tmp_path: Path) -> None:
    made = with_final(course(RULES, tmp_path))
    validation, compiled = made.validation, made.computer.compiled
    assert validation.final is not None and validation.final_baseline is not None
    slates, final = validation.examiner.greedy(made.recommender), validation.final.greedy(made.recommender)

    def measured(examiner: Evaluator, *both: object) -> dict[str, Outcome]:
        found = outcomes(compiled, examiner.rows, *both, seed=0, draws=DRAWS)  # type: ignore[arg-type]
        return {outcome.name: outcome for outcome in found}

    held_out = measured(validation.examiner, slates, validation.baseline)
    later = measured(validation.final, final, validation.final_baseline)
    found = {aim.name: aim for aim in validation.of(made.recommender).aims}
    assert list(found) == ["ads", "keep", "fewer"]
    for name, outcome in (("ads", later["ads"]), ("keep", held_out["keep"]), ("fewer", later["fewer"])):
        assert (found[name].value, found[name].bound) == (outcome.value, outcome.bound)
    assert held_out["ads"].value != later["ads"].value and held_out["fewer"].bound != later["fewer"].bound
    [wanted] = aims([later["ads"]], 20, 20)
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


# ---- in expectation -------------------------------------------------------------------------------------------------


def expecting(made: Course) -> Validation:
    """The course's validation, whose users are also known by their chances: what they took, and as much besides."""
    validation, items = made.validation, made.computer.items
    rows = validation.examiner.rows
    table = np.full((len(rows), items), 0.01, np.float32)
    rng = np.random.default_rng(0)
    for i in range(len(rows)):
        table[i, rows.next_items.row(i)] = rng.uniform(0.1, 0.6)
        table[i, rng.permutation(items)[:20]] += 0.2
    count = np.full(len(rows), 10, np.int64)
    examiner = replace(validation.examiner, rows=replace(rows, chances=Chances(table, np.arange(len(rows)), count)))
    return replace(validation, examiner=examiner)


def taken(made: Course) -> Validation:
    """The same validation whose baseline is what the users really took, one of them wrong in every other list."""
    rows = made.validation.examiner.rows
    lists = [[*rows.next_items.row(i).tolist(), -1, -1, -1, -1][:4] for i in range(len(rows))]
    slates = replace(made.validation.baseline, items=np.array(lists, np.int32))
    slates.items[::2, 0] = made.validation.baseline.items[::2, 0]
    return replace(made.validation, baseline=slates)


LABELLED = (
    "reward relevance weight 0.5 = ndcg(next_items)\nreward variety weight 0.5 = distance(item.genres)\n"
    "target keep = relevance >= 80% of baseline\ntarget found = hit(next_items) >= 20%\n"
    "target ads = share(item.is_ad) >= 5%\n"
)


def test_expected_labels_give_the_value_and_real_ones_the_width_of_the_interval(tmp_path: Path) -> None:
    made = course(LABELLED, tmp_path)
    validation = replace(expecting(replace(made, validation=taken(made))), judged_on=120)
    compiled = made.computer.compiled
    rows, users = validation.examiner.rows, len(validation.examiner.rows)
    real = replace(rows, chances=None)
    slates = replace(validation.baseline, items=np.roll(validation.baseline.items, 1, 1))
    slates.items[:9] = slates.items[9:18]  # some have a list that is another's
    found = {aim.name: aim for aim in validation.standing(slates).aims}
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
    assert validation.standing(slates).reward == pytest.approx(float(compiled.total(rows, slates).mean()))
    assert compiled.total(rows, slates).mean() != pytest.approx(compiled.total(real, slates).mean(), rel=0.01)


def test_by_what_users_really_took_chances_do_not_count(tmp_path: Path) -> None:
    made = course(LABELLED, tmp_path)
    plain = made.validation
    slates = plain.examiner.greedy(made.recommender)
    one, two = expecting(made).real.standing(slates), plain.standing(slates)
    assert one.aims == two.aims and one.reward == two.reward
    assert expecting(made).standing(slates).reward != one.reward
    assert expecting(made).real.real.standing(slates).aims == one.aims


def test_a_guardrail_in_expectation_is_a_share_of_what_the_baseline_is_expected_to_have(tmp_path: Path) -> None:
    made = course("\n".join(LABELLED.splitlines()[:2]) + "\n", tmp_path)
    validation = replace(expecting(made), compiled=guarded(made.computer.compiled))
    rows, baseline = validation.examiner.rows, validation.baseline
    [aim] = validation.standing(baseline).aims
    bound = float(validation.compiled.values(rows, baseline)["relevance"].mean())
    assert aim.name == f"relevance{SUFFIX}" and bound > 0
    assert [aim.value, aim.bound, aim.aim, aim.slack] == pytest.approx([bound, bound, bound, SLACK * bound])


def test_targets_without_labels_are_measured_in_the_end_whatever_is_expected(tmp_path: Path) -> None:
    made = with_final(course(RULES, tmp_path))
    validation = expecting(made)
    assert validation.final is not None
    slates, final = validation.examiner.greedy(made.recommender), validation.final.greedy(made.recommender)
    by_chances, by_labels = ({a.name: a for a in v.standing(slates, final).aims} for v in (validation, made.validation))
    assert all(by_chances[name] == by_labels[name] for name in ("ads", "fewer"))
    assert by_chances["keep"].value != by_labels["keep"].value

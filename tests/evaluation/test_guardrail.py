"""Checks the implied guardrail on relevance: when it is added, to which rule, and how it is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.errors import PolicyError
from recpolicy.evaluation.guardrail import SUFFIX, guarded, is_guardrail
from recpolicy.evaluation.targets import outcomes
from recpolicy.language import checker

HEAD = 'policy "made" { language = 1  data = "simulator"  slate = 3 }\n'
RELEVANCE = "reward relevance weight 0.6 = ndcg(next_items)\n"
VARIETY = "reward variety weight 0.4 = distance(item.genres)\n"
ADS = "bury ads weight 0.2 = item.is_ad\n"
DATASET = data.simulate(users=40, items=120, creators=12).dataset


def read(rules: str, folder: Path) -> CompiledPolicy:
    path = folder / "made.policy"
    path.write_text(HEAD + rules)
    return guarded(compile(checker.load(str(path)), DATASET))


def names(compiled: CompiledPolicy) -> list[str]:
    return [target.target.name for target in compiled.targets]


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        (RELEVANCE + VARIETY, "relevance"),
        (RELEVANCE + ADS, "relevance"),
        (RELEVANCE + "target calm = share(item.is_ad) <= 20%\n", "relevance"),
        (RELEVANCE + VARIETY + "reward hits weight 0.7 = hit(next_items)\n", "hits"),
        (RELEVANCE + VARIETY + "reward hits weight ramp 0 to 0.7 over 50% of training = hit(next_items)\n", "hits"),
        (VARIETY + "reward relevance weight 0 = ndcg(next_items)\nwhen user.age < 20 { reward relevance weight 1 }\n",
         "relevance"),
    ],
    ids=["a reward", "a bury", "a target", "the heaviest", "a ramp", "weight for some"],
)  # fmt: skip
def test_guardrail_is_added_if_rules_compete_with_relevance(rules: str, rule: str, tmp_path: Path) -> None:
    compiled = read(rules, tmp_path)
    *own, (added) = compiled.targets
    assert names(compiled)[-1] == rule + SUFFIX and is_guardrail(rule + SUFFIX)
    assert not any(is_guardrail(target.target.name) for target in own)
    assert (added.target.op, added.target.bound, added.target.of_baseline) == (">=", 1.0, True)
    assert added.target.only is None and added.needs_labels
    assert names(guarded(compiled)) == names(compiled), "a second one is not added"


@pytest.mark.parametrize(
    "rules",
    [
        RELEVANCE,
        VARIETY + ADS,
        RELEVANCE + VARIETY + "target keep = relevance >= 90% of baseline\n",
        RELEVANCE + VARIETY + "target hits = hit(next_items) >= 20%\n",
        RELEVANCE + "reward hits weight 0.7 = hit(next_items)\n",
        RELEVANCE + "reward variety weight 0 = distance(item.genres)\n",
        "reward relevance weight 0 = ndcg(next_items)\n" + VARIETY,
        RELEVANCE + "block reported = item.report_rate > 10%\n",
        RELEVANCE + "quota voices hard = at most 1 per item.creator\n",
    ],
    ids=[
        "relevance alone",
        "nothing with labels",
        "a target on relevance",
        "a target with labels",
        "labels alone",
        "weight 0",
        "relevance of weight 0",
        "a block",
        "a hard quota",
    ],
)
def test_guardrail_is_absent_without_competing_rules_or_with_own_target(rules: str, tmp_path: Path) -> None:
    compiled = read(rules, tmp_path)
    assert not any(map(is_guardrail, names(compiled)))


def test_guardrail_name_is_not_valid_in_policy(tmp_path: Path) -> None:
    for target in ("target relevance (guard)", f"target relevance{SUFFIX}", f'target "relevance{SUFFIX}"'):
        with pytest.raises(PolicyError):
            read(RELEVANCE + VARIETY + f"{target} = share(item.is_ad) <= 20%\n", tmp_path)


def test_guardrail_is_paired_with_baseline_per_user(tmp_path: Path) -> None:
    compiled = read(RELEVANCE + VARIETY, tmp_path)
    users = 30
    future = Ragged.of([[i, 40 + i] for i in range(users)])
    rows = Rows(np.arange(users), np.zeros(users), Ragged.of([[]] * users), future)
    at = np.arange(users, dtype=np.int32)
    one, two = Slates(np.stack([at, at + 80, at + 81], 1)), Slates(np.stack([at, at + 40, at + 81], 1))
    none = Slates(np.stack([at + 80, at + 81, at + 82], 1))
    gain = 1 / (1 + 1 / np.log2(3))  # the first hit of two
    for slates, baseline, value, bound, word in (
        (one, one, gain, gain, "met"),
        (two, one, 1.0, gain, "met"),
        (one, two, gain, 1.0, "not met"),
        (none, one, 0.0, gain, "not met"),
    ):
        [found] = outcomes(compiled, rows, slates, baseline, seed=0)
        assert (found.value, found.bound) == pytest.approx((value, bound)) and found.verdict == word
    some = replace(one, items=np.where(np.arange(users)[:, None] % 2, one.items, none.items))
    mixed = Slates(np.where(np.arange(users)[:, None] % 2, none.items, one.items))
    [found] = outcomes(compiled, rows, some, mixed, seed=0)
    assert found.verdict == "undecided" and found.low < found.bound < found.high

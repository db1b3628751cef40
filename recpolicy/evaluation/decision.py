"""Decides whether to ship a trained recommender, as an experiment platform would: one word and its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recpolicy.evaluation.guardrail import is_guardrail
from recpolicy.evaluation.metrics import Interval
from recpolicy.evaluation.targets import Outcome

Word = Literal["SHIP", "DO NOT SHIP", "UNDECIDED"]


@dataclass(frozen=True)
class Decision:
    """The decision about a trained model, and its reason."""

    word: Word
    reason: str


def decide(
    outcomes: Sequence[Outcome], before: Sequence[Outcome], reward: Interval, baseline_less_popularity: Interval
) -> Decision:
    """Judges a model on held-out users.

    `outcomes`: those of the model's targets, guardrails included, and `before` those of the baseline; `reward`: the
    model's whole reward minus the baseline's, paired over users; `baseline_less_popularity`: the baseline's NDCG minus
    that of the most popular items. SHIP: the reward is significantly larger or a target is met that was not before,
    every other target is met, and no guardrail is significantly worse (95 % intervals). A comparison with a baseline
    that is no better than popularity is UNDECIDED.
    """
    targets = [o for o in outcomes if not is_guardrail(o.name)]
    broken = [o for o in outcomes if o.verdict == "not met"]
    undecided = [o for o in targets if o.verdict == "undecided"]
    met_before = {o.name for o in before if o.verdict == "met"}
    reached = [o for o in targets if o.verdict == "met" and o.name not in met_before]
    gain = f"the whole reward changed by {reward.mean:+.4f} [{reward.low:+.4f}, {reward.high:+.4f}]"
    if baseline_less_popularity.high <= 0 or not baseline_less_popularity.mean > 0:
        lost = f"{baseline_less_popularity.mean:+.4f} NDCG"
        why = f"the model before the policy is no better than the most popular items ({lost}), so it is no baseline"
        return Decision("UNDECIDED", why)
    if broken:
        return Decision("DO NOT SHIP", "; ".join(_missed(o) for o in broken))
    if reward.high < 0 and not reached:
        return Decision("DO NOT SHIP", gain)
    if undecided:
        return Decision("UNDECIDED", f"too few users to tell whether {_named(undecided)} met")
    if reward.low > 0:
        met = f", all {len(targets)} targets met" if len(targets) > 1 else ", the target met" if targets else ""
        return Decision("SHIP", gain + met)
    if reached:
        return Decision("SHIP", f"{_named(reached)} met now; {gain}")
    return Decision("UNDECIDED", gain + (", and what the targets ask was met before" if targets else ""))


def _named(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(f"`{o.name}`" for o in outcomes) + (" is" if len(outcomes) == 1 else " are")


def _missed(outcome: Outcome) -> str:
    value = f"{outcome.value:.3f} [{outcome.low:.3f}, {outcome.high:.3f}]"
    if is_guardrail(outcome.name):
        return f"{outcome.name}: {value} for {outcome.bound:.3f} before the policy"
    return f"target `{outcome.name}` is not met: {value}, asked {outcome.op} {outcome.bound:.3f}"

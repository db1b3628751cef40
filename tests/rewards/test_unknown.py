"""Checks that an item of unknown condition is worth no more than the worse of true and false."""

from __future__ import annotations

import numpy as np
import pytest

from recpolicy.language.policy import Block, Portion, Rule, Where
from recpolicy.span import NOWHERE
from tests.rewards.make import boost, compiled, items, places, quota, reward, rows, slates
from tests.rewards.strategies import item

ADS = item("is_ad")
RULES: dict[str, Rule] = {
    "boost": boost(ADS),
    "boost limit": boost(ADS, limit=1),
    "bury": boost(ADS, bury=True),
    "share": reward(Portion(NOWHERE, "share", ADS)),
    "exposure": reward(Portion(NOWHERE, "exposure", ADS)),
    "at least": quota(Where(NOWHERE, ADS), at_least=places(2)),
    "at most": quota(Where(NOWHERE, ADS), at_most=places(1)),
    "between": quota(Where(NOWHERE, ADS), at_least=places(1), at_most=places(2)),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("others", [(True, True), (True, False), (False, True), (False, False), (None, True)])
def test_unknown_value_never_raises_reward(name: str, others: tuple[bool | None, bool | None]) -> None:
    def worth(value: bool | None) -> float:
        data = items(*({"is_ad": v} for v in (value, *others)))
        found = [compiled(data, 3, RULES[name]).total(rows(), slates(s))[0] for s in ([0, 1, 2], [1, 0, 2], [1, 2, 0])]
        return float(np.sum(found))

    assert worth(None) <= min(worth(True), worth(False)) + 1e-12


def test_unknown_value_satisfies_no_quota_and_is_blocked() -> None:
    data = items({"is_ad": None}, {"is_ad": False})
    where = Where(NOWHERE, ADS)
    rules = (quota(where, "low", at_least=places(1)), quota(where, "high", at_most=places(0)))
    satisfied = compiled(data, 2, *rules).satisfied(rows(), slates([0, 1]))
    assert not satisfied["low"][0] and not satisfied["high"][0]
    assert compiled(data, 2, blocks=(Block(NOWHERE, "ads", ADS),)).legal(rows()).tolist() == [[False, True]]

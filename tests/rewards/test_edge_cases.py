"""Checks measures where a catalog has one value, or an expression is a constant that has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpolicy
from recpolicy.errors import PolicyError
from recpolicy.language import checker

HEADER = 'policy "p" {\n  language = 1\n  data = "simulator"\n  slate = 4\n}\n'


MISSING = ("", " on missing zero", " on missing mean")
RULES = [
    *(f"distance(item.{column}){missing}" for column in ("x", "w") for missing in MISSING),
    "distinct(item.w)",
    "entropy(item.w)",
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_value_is_nan_however_few_items_have_one(rule: str, count: int, tmp_path: Path) -> None:
    (tmp_path / "p.policy").write_text(f"{HEADER}reward r weight 1 = {rule}\n")
    items: dict[str, list[Any]] = {
        "item_id": ["a", "b", "c", "d"],
        "x": [float(n) if n < count else None for n in range(4)],
        "w": [f"w{n}" if n < count else None for n in range(4)],
    }
    if count == 0:
        items["x"][3], items["w"][3] = 1.0, "w"  # a column without any value has no type
    policy = recpolicy.load(tmp_path / "p.policy", items=items)
    found = policy.score([["a", "b", "c", "d"], ["a", "x", "b"], ["c", "gone"], [], ["gone", "a", "gone", "c"]])
    assert np.isfinite(found.rules["r"]).all()
    assert np.isfinite(found.ranks["r"]).all()


@pytest.mark.parametrize("constant", ["log(0)", "1 / 0", "0 / 0", "log(-1)"])
def test_constant_without_a_value_is_missing(constant: str, tmp_path: Path) -> None:
    (tmp_path / "p.policy").write_text(f"{HEADER}reward r weight 1 = mean(min(1, max(0, {constant})))\n")
    try:
        policy = recpolicy.load(tmp_path / "p.policy", "simulator")
    except PolicyError:
        return  # a finding is as good
    found = policy.score([["p0001", "p0002"], []])
    assert np.isfinite(found.rules["r"]).all()


@pytest.mark.parametrize("statement", ["param a = 1", "let a = 1"])
def test_override_of_a_definition_inside_when_is_a_finding(statement: str, tmp_path: Path) -> None:
    (tmp_path / "p.policy").write_text(
        f"{HEADER}{statement}\nwhen user.age > 30 {{\n  override {statement}\n}}\n"
        "reward r weight a = ndcg(next_items)\n"
    )
    with pytest.raises(PolicyError) as caught:
        checker.load(str(tmp_path / "p.policy"))
    assert "E0423" in {finding.code for finding in caught.value.findings}

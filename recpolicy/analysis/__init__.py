"""Finds demands of a policy that its catalog and users cannot meet.

scene.py       the material of every finding: the compiled policy, the data, the users looked at
messages.py    words that do not occur, columns that are mostly missing
conditions.py  conditions that never or always hold
supply.py      quotas that cannot be met, blocks that leave too few items
targets.py     targets out of reach
feasibility.py the best value of a target's metric that any lists reach
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recpolicy import data
from recpolicy.analysis.conditions import conditions
from recpolicy.analysis.messages import gaps, words
from recpolicy.analysis.scene import Scene, users_looked_at
from recpolicy.analysis.supply import supply
from recpolicy.analysis.targets import targets
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.errors import Diagnostic
from recpolicy.language.policy import Policy
from recpolicy.span import Source

__all__ = ["analyse", "of_policy"]


def of_policy(policy: Policy, dataset: Dataset, sources: Mapping[str, Source] | None = None) -> list[Diagnostic]:
    """Analyses a policy for all users with a history, at its end.

    Statistics such as popularity are those that training would use. `policy` was checked against the data's schema.
    Raises UsageError for data in which no user could be tested.
    """
    view = data.training_view(dataset, data.split(dataset))
    users = np.flatnonzero(np.diff(view.start))
    return analyse(compile(policy, view), view, data.rows_at_end(view, users), sources or {})


def analyse(
    compiled: CompiledPolicy, dataset: Dataset, rows: Rows, sources: Mapping[str, Source] | None = None
) -> list[Diagnostic]:
    """Analyses a policy compiled against `dataset`; findings are in the order of the text. `rows` has each user once.

    At most 2,000 users are looked at, a few at a time, and fewer of a large catalog. `sources` are the files, by rule
    name, of the rules that are not in the main file.
    """
    scene = Scene(compiled, dataset, rows.sample(users_looked_at(dataset.items.rows), seed=0), len(rows), sources or {})
    findings = [*words(scene), *gaps(scene), *conditions(scene), *supply(scene), *targets(scene)]
    return sorted(findings, key=lambda finding: (finding.source is not None, finding.span.start, finding.code))

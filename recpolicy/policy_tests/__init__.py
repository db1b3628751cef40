"""A checked policy with tests in; which of them hold, and which outcomes of each rule they have seen, out.

world.py       a case as a small data set
evaluation.py  what the policy says of one slate
verdicts.py    does an expectation hold?
coverage.py    the two outcomes of each rule
"""

from __future__ import annotations

from dataclasses import dataclass

from recpolicy.dataset.rows import Dataset
from recpolicy.language import policy
from recpolicy.policy_tests.coverage import Coverage, coverage
from recpolicy.policy_tests.evaluation import Evaluated, evaluate
from recpolicy.policy_tests.verdicts import TOLERANCE, Expectation, Ledger, number, verdict
from recpolicy.policy_tests.world import Data, world
from recpolicy.schema import Schema

__all__ = ["TOLERANCE", "CaseReport", "Coverage", "Expectation", "Ledger", "Report", "TestReport", "number", "run"]


@dataclass(frozen=True)
class CaseReport:
    """One case and a verdict for each of its expectations, in their order."""

    case: policy.Case
    verdicts: tuple[Expectation, ...]

    @property
    def passed(self) -> bool:
        """True where every expectation holds."""
        return all(v.passed for v in self.verdicts)


@dataclass(frozen=True)
class TestReport:
    """One test and its cases."""

    __test__ = False  # no test of pytest's

    test: policy.Test
    cases: tuple[CaseReport, ...]

    @property
    def passed(self) -> bool:
        """True where every case passed."""
        return all(c.passed for c in self.cases)


@dataclass(frozen=True)
class Report:
    """All tests of a policy, and what they have seen of each of its rules."""

    tests: tuple[TestReport, ...]
    coverage: tuple[Coverage, ...]

    @property
    def failed(self) -> int:
        """The number of tests of which some expectation does not hold."""
        return sum(not t.passed for t in self.tests)

    @property
    def covered(self) -> tuple[int, int]:
        """How many outcomes some slate has shown, of how many: each rule has two."""
        return sum(c.yes + c.no for c in self.coverage), 2 * len(self.coverage)


def run(policy: policy.Policy, schema: Schema, dataset: Dataset | None = None) -> Report:
    """Run the tests of `policy`, which was checked against `schema`.

    Each case is evaluated by itself, with the items it states as the whole catalog: ranges, means and distinct values
    are those of these items, and `novelty` counts on as many users as the largest stated popularity (at least 2).
    With `dataset` (of that schema) they are added to its items, one of a known id takes the columns it does not state
    from there, and all statistics are the data's. A slate's length is the policy's K while it is evaluated.
    """
    data = None if dataset is None else Data(dataset)
    seen: list[Evaluated] = []
    tests = []
    for test in policy.tests:
        cases = []
        for case in test.cases:
            built = world(case, schema, data)
            slates = {name: evaluate(policy, built, slate) for name, slate in built.slates.items()}
            cases.append(CaseReport(case, tuple(verdict(e, slates, policy, case) for e in case.expects)))
            seen += slates.values()
        tests.append(TestReport(test, tuple(cases)))
    return Report(tuple(tests), coverage(policy, seen))

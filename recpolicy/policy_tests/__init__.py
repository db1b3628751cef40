"""Runs the tests of a checked policy: which of them hold, and which outcomes of each rule they show.

world.py       a case as a small data set
evaluation.py  the values of all rules for one slate
verdicts.py    whether an expectation holds
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

    __test__ = False  # pytest must not collect it

    test: policy.Test
    cases: tuple[CaseReport, ...]

    @property
    def passed(self) -> bool:
        """True where every case passed."""
        return all(c.passed for c in self.cases)


@dataclass(frozen=True)
class Report:
    """All tests of a policy, and the outcomes of each of its rules that they show."""

    tests: tuple[TestReport, ...]
    coverage: tuple[Coverage, ...]

    @property
    def failed(self) -> int:
        """The number of tests with an expectation that does not hold."""
        return sum(not t.passed for t in self.tests)

    @property
    def covered(self) -> tuple[int, int]:
        """The number of outcomes that some slate shows, and of all outcomes: two for each rule."""
        return sum(c.yes + c.no for c in self.coverage), 2 * len(self.coverage)


def run(policy: policy.Policy, schema: Schema, dataset: Dataset | None = None) -> Report:
    """Runs the tests of `policy`, which was checked against `schema`.

    Each case is evaluated by itself, and the items that it states are the whole catalog: ranges, means and distinct
    values are those of these items, and `novelty` assumes as many users as the largest stated popularity (at least 2).
    With `dataset` (of that schema) the items are added to its items, and all statistics are the data's; an item with a
    known id takes from there the columns that the case does not state. K is the length of the evaluated slate.
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

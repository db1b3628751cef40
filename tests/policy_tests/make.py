"""Short forms for tests: policies over the shop's columns, checked and tried."""

from __future__ import annotations

from pathlib import Path

from recpolicy import policy_tests, schema
from recpolicy.dataset.rows import Dataset
from recpolicy.language import checker, parser
from recpolicy.language.policy import Policy
from recpolicy.policy_tests import Expectation, Report
from recpolicy.span import Source

SHOP = schema.load(Path(__file__).parents[1] / "language" / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
BASE = "reward base weight 1 = ndcg(next_items)\n"


def check(text: str) -> Policy:
    """The policy of these rules and tests, with a rule `base` before them."""
    return checker.check(parser.parse(Source("example.policy", HEADER + BASE + text)), SHOP)


def run(text: str, dataset: Dataset | None = None) -> Report:
    """The report of its tests."""
    return policy_tests.run(check(text), SHOP, dataset)


def verdicts(rules: str, *parts: str) -> list[Expectation]:
    """The verdicts of one test of these parts, a part a line."""
    lines = "\n".join(parts)
    return [v for c in run(f'{rules}\ntest "made" {{\n{lines}\n}}\n').tests[0].cases for v in c.verdicts]


def found(rules: str, *parts: str) -> list[tuple[bool, str]]:
    """Whether each expectation holds, and what was found."""
    return [(v.passed, v.actual) for v in verdicts(rules, *parts)]

"""Explains a typed policy in plain English for a product team, and as formulas for engineers (`engineer`).

values.py       numbers, durations, dates, names
expressions.py  conditions and quantities
measures.py     what a reward or a target measures
weights.py      weights as shares of the whole
quotas.py       what a quota demands
rules.py        a rule, a block, a target
page.py         the whole policy
formulas.py     a rule for the engineer
ledger.py       what each place of one slate earned
instruction.py  the whole policy in a few lines, for a prompt
"""

from recpolicy.explain.expressions import condition
from recpolicy.explain.formulas import NOTATION, engineer
from recpolicy.explain.instruction import instruction
from recpolicy.explain.ledger import places
from recpolicy.explain.page import entry, policy
from recpolicy.explain.rules import block, demand, rule, sentence, target, weighting
from recpolicy.explain.weights import shares

__all__ = [
    "NOTATION",
    "block",
    "condition",
    "demand",
    "engineer",
    "entry",
    "instruction",
    "places",
    "policy",
    "rule",
    "sentence",
    "shares",
    "target",
    "weighting",
]

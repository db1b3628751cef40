"""A typed policy in, plain English for a product team out; `engineer` says the same as formulas.

values.py       numbers, durations, dates, names
expressions.py  conditions and quantities
measures.py     what a reward or a target measures
weights.py      weights as shares of the whole
quotas.py       what a quota asks
rules.py        a rule, a block, a target
page.py         the whole policy
formulas.py     a rule for the engineer
ledger.py       what each place of one list earned
instruction.py  the whole policy in a few lines, for a prompt
"""

from recpolicy.words.expressions import condition
from recpolicy.words.formulas import NOTATION, engineer
from recpolicy.words.instruction import instruction
from recpolicy.words.ledger import places
from recpolicy.words.page import entry, policy, said
from recpolicy.words.rules import asks, block, rule, target, weighs
from recpolicy.words.weights import shares

__all__ = [
    "NOTATION",
    "asks",
    "block",
    "condition",
    "engineer",
    "entry",
    "instruction",
    "places",
    "policy",
    "rule",
    "said",
    "shares",
    "target",
    "weighs",
]

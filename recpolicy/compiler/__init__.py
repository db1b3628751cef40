"""Compiles a typed policy against the training view of its data into NumPy rewards per rule and per rank.

catalog.py          the columns, words and expressions of a policy
candidate_batch.py  expressions, evaluated for rows and their candidate items
encoded_column.py   an item column's values as codes and bit sets
distance.py         distances between items
measures.py         what a compiled measure is: marginals of whole slates, gains while slates grow
places.py           share, exposure, boost, bury, mean, discounted, novelty
value_weights.py    how much weight each value has had
spread.py           distance, distinct, entropy
calibration.py      calibration
quotas.py           at least, at most, between
windows.py          the same as slates grow
hard_quotas.py      which candidates hard quotas leave open
relevance.py        accuracy against the next items
serendipity.py      hits that differ from the history
population.py       measures over the slates of all users
rules.py            a measure with a weight, and for whom
partial_slates.py   what further candidates are worth as slates grow
compiled.py         the compiled policy
"""

from recpolicy.compiler.candidate_batch import evaluate
from recpolicy.compiler.catalog import TRUE
from recpolicy.compiler.compiled import CompiledPolicy, compile
from recpolicy.compiler.hard_quotas import HardQuotaMask
from recpolicy.compiler.partial_slates import PartialSlates
from recpolicy.compiler.rules import CompiledRule, CompiledTarget

__all__ = [
    "TRUE",
    "CompiledPolicy",
    "CompiledRule",
    "CompiledTarget",
    "HardQuotaMask",
    "PartialSlates",
    "compile",
    "evaluate",
]

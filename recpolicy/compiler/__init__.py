"""A typed policy and the training view of its data in, NumPy rewards per rule and per rank out.

catalog.py      the columns and words a policy names
pool.py         expressions, evaluated for rows and their candidate items
coded.py        an item column's values as codes
distance.py     how far apart two items are
scan.py         slates that grow place by place: the one definition behind marginals and re-ranking
places.py       share, exposure, boost, bury, mean, discounted, novelty
spread.py       distance, distinct, entropy, calibration
quotas.py       at least, at most, between
guard.py        which candidates hard quotas leave open
relevance.py    accuracy against the next items
serendipity.py  hits that are unlike the history
population.py   measures over the slates of all users
compiled.py     the compiled policy
"""

from recpolicy.compiler.compiled import CompiledPolicy, CompiledRule, CompiledTarget, Growth, compile
from recpolicy.compiler.guard import Guard

__all__ = ["CompiledPolicy", "CompiledRule", "CompiledTarget", "Growth", "Guard", "compile"]

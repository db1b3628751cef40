"""Uses a policy from other programs: one object that scores, reranks, evaluates and explains lists.

loaded.py   `LoadedPolicy`
opening.py  `load`: a policy with its data, from files or tables in memory
strengths.py how strongly to rerank
files.py    files of lists, for the commands
rows.py     ids of users, items and histories as the rows that the compiler reads
results.py  what the methods return
parsers.py  lists of ids in the answers of language models
"""

from recpolicy.api.loaded import LoadedPolicy
from recpolicy.api.opening import load
from recpolicy.api.results import Evaluated, Reranked, RowProblem, Scored
from recpolicy.api.strengths import FittedStrength, Tried

__all__ = ["Evaluated", "FittedStrength", "LoadedPolicy", "Reranked", "RowProblem", "Scored", "Tried", "load"]

"""Makes a data folder from what other programs write: three tables as Parquet, clean and whole.

found.py        what was found in a source
kinds.py        the kind of a source, by its files
movielens.py    MovieLens: `::` files, ml-latest, 100K
amazon.py       Amazon reviews as JSON lines
huggingface.py  folders of `datasets`
plain.py        data folders, RecBole folders, databases
keys.py         usual names of the columns of ids and times
cleaning.py     leaves out rows that cannot count, and makes absent tables
writing.py      Parquet files, typed, and what is said of the interactions
"""

from recpolicy.data.importing.cleaning import Clean, checked, cleaned
from recpolicy.data.importing.found import Found
from recpolicy.data.importing.kinds import read
from recpolicy.data.importing.writing import log_comments, write

__all__ = ["Clean", "Found", "checked", "cleaned", "log_comments", "read", "write"]

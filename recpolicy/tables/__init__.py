"""Reads raw tables of any format and infers their schema; what they mean together is for `recpolicy.data`.

source.py   which file of a folder, or table of a database, is which
reading/    files as plain Arrow arrays
values/     plain arrays as the columns that the compiler reads
infer.py    the schema of tables that have none
recbole.py  the directors of films in RecBole's data
problems.py what is wrong with the values
"""

from recpolicy.tables.opening import Opened, open

__all__ = ["Opened", "open"]

"""Reads the file of a table as plain Arrow arrays: one reading of types, whatever the format.

table.py      a table as read
files.py      the format of a file, and `read`
delimited.py  CSV and RecBole's atomic files
json_lines.py one JSON object a line
parts.py      folders of Parquet parts
database.py   DuckDB databases
arrow.py      Arrow types as the few kinds that the rest of the program knows
"""

from recpolicy.tables.reading.files import COMPRESSED, FORMATS, format_of, read
from recpolicy.tables.reading.table import Array, Format, RawTable, is_list, is_text

__all__ = ["COMPRESSED", "FORMATS", "Array", "Format", "RawTable", "format_of", "is_list", "is_text", "read"]

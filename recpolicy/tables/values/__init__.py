"""Converts plain Arrow columns to columns as the compiler reads them: one reading of values, whatever the format.

reporter.py  what does not fit, by row
words.py     texts, categories and ids
numbers.py   numbers and truth values
dates.py     dates and times
lists.py     lists of categories
columns.py   a column of a schema
"""

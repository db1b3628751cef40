"""Holds a loaded data set: typed columns, rows of users with their histories, and slates of items."""

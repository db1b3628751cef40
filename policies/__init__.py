"""Holds the sample policies as package data. A sample is used by its name: `recpolicy check balanced`."""

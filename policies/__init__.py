"""Sample policies as package data, usable by name: `recpolicy check balanced`."""

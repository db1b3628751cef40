"""Loads data sets by name or folder as typed columns, and splits them into train, validation and test rows."""

from recpolicy.data.aligned import Aligned, aligned
from recpolicy.data.download import cache, get
from recpolicy.data.load import open
from recpolicy.data.simulator import Simulation, simulate
from recpolicy.data.split import rows_at, rows_at_end, split, training_view

__all__ = [
    "Aligned",
    "Simulation",
    "aligned",
    "cache",
    "get",
    "open",
    "rows_at",
    "rows_at_end",
    "simulate",
    "split",
    "training_view",
]

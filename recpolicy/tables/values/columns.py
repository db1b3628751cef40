"""Converts a column of a table to the type that the schema says."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from recpolicy.dataset.columns import ColumnData, NumberColumn, TruthColumn
from recpolicy.schema import ColumnSpec
from recpolicy.tables.problems import Problems
from recpolicy.tables.reading import RawTable
from recpolicy.tables.values.dates import dates
from recpolicy.tables.values.lists import lists
from recpolicy.tables.values.numbers import numbers, truth
from recpolicy.tables.values.reporter import Reporter
from recpolicy.tables.values.words import coded, known, words
from recpolicy.types import Type


def column(table: RawTable, spec: ColumnSpec, problems: Problems) -> ColumnData:
    """Converts column `spec.source` of `table` to `spec.type`; every value that does not fit goes to `problems`."""
    assert spec.source is not None
    raw = table.columns[spec.source]
    report = Reporter(table, spec.source, problems)
    match spec.type:
        case Type.INT | Type.FLOAT | Type.RATIO | Type.DURATION | Type.DATE:
            values = dates(raw, spec, report) if spec.type is Type.DATE else numbers(raw, spec, report)
            report.required(spec, np.isnan(values))
            return NumberColumn(spec.type, values)
        case Type.BOOL:
            truths = truth(raw, spec, report)
            report.required(spec, truths == 1)
            return TruthColumn(spec.type, truths)
        case Type.CATEGORY | Type.TEXT:
            strings = known(words(raw, report), spec)
            report.required(spec, np.asarray(strings.is_null()))
            return coded(spec.type, strings)
        case Type.LIST:
            listed = lists(raw, spec, report)
            report.required(spec, listed.missing)
            return listed
        case _:
            assert_never(spec.type)

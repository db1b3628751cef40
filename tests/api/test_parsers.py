"""Checks the parsers of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpolicy.api import parsers


@pytest.mark.parametrize(
    ("parse", "text", "ids"),
    [
        (parsers.lines, "1. p1\n2) p2\n\n- 'p3'\n* p4", ["p1", "p2", "p3", "p4"]),
        (parsers.lines, "2001: A Space Odyssey", ["2001: A Space Odyssey"]),
        (parsers.commas, 'p1, "p2",p3,', ["p1", "p2", "p3"]),
        (parsers.json_list, 'Here [you] are: ["p1", 2, true] and ["p9"]', ["p1", "2"]),
        (parsers.json_list, "none", []),
        (parsers.json_list, "[" * 100_000, []),
        (parsers.tagged(parsers.commas), "<answer>p0</answer> no: <answer>p1,p2</answer>", ["p1", "p2"]),
        (parsers.tagged(parsers.commas), "p1,p2", []),
        (parsers.tagged(parsers.lines, "list"), "<list>\np1", ["p1"]),
        (parsers.titled(parsers.lines, {"p1": "Heat", "p2": "Alien"}), "1. heat\np2\nTron", ["p1", "p2", "Tron"]),
    ],
)
def test_ids_are_read(parse: parsers.Parser, text: str, ids: list[str]) -> None:
    assert parse(text) == ids


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    for parse in (parsers.lines, parsers.commas, parsers.json_list, parsers.tagged(parsers.lines)):
        assert all(isinstance(id, str) for id in parse(text))

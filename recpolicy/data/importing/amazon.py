"""Reads Amazon reviews as JSON lines, in the forms of 2014, 2018 and 2023, with the metadata of the products."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from recpolicy.data.importing.found import Found, lines, moments
from recpolicy.errors import UsageError
from recpolicy.tables.reading import COMPRESSED
from recpolicy.tables.reading.files import from_arrow
from recpolicy.tables.reading.json_lines import json_object

_ENDINGS = (".json", ".jsonl")
_CHUNK = 100_000
"""Lines kept as Python values at once."""
_PRICE = re.compile(r"\$?\s*(\d[\d,]*(\.\d+)?)")


@dataclass(frozen=True)
class _Form:
    """The names of one edition's fields."""

    name: str
    user: str
    item: str
    rating: str
    time: str
    unit: str
    bought: str


_FORMS = (
    _Form("2014 and 2018", "reviewerID", "asin", "overall", "unixReviewTime", "s", "verified"),
    _Form("2023", "user_id", "parent_asin", "rating", "timestamp", "ms", "verified_purchase"),
)
_EVENTS = pa.schema(
    {
        "user_id": pa.string(),
        "item_id": pa.string(),
        "rating": pa.float64(),
        "time": pa.float64(),
        "verified_purchase": pa.bool_(),
    }
)
_ITEMS = pa.schema(
    {
        "item_id": pa.string(),
        "title": pa.string(),
        "creator": pa.string(),
        "categories": pa.list_(pa.string()),
        "price": pa.float64(),
    }
)


def matches(source: Path) -> bool:
    """Checks for a file of reviews, or a folder with one."""
    return bool(_reviews(source))


def load(source: Path, metadata: Path | None) -> Found:
    """Reads reviews and, where there is some, metadata: `metadata`, else the file in the folder that looks like it.

    Raises UsageError for a line that is no JSON object, and where two files of reviews are there.
    """
    reviews = _reviews(source)
    if len(reviews) > 1:
        names = " and ".join(path.name for path, _ in reviews)
        help = "name the file: recpolicy data import FOLDER/FILE"
        raise UsageError(f"{names} both hold reviews", where=str(source), help=help)
    [(path, form)] = reviews
    if metadata is None:
        others = [p for p in _files(path.parent) if p != path and _holds_products(_begin(p))]
        if source.is_file():  # of the files beside it only the one that is named like it
            others = [p for p in others if p.name in (f"meta_{path.name}", path.name.replace("reviews_", "meta_"))]
        if len(others) > 1:
            help = "say which: --metadata FILE"
            raise UsageError(f"{' and '.join(p.name for p in others)} both hold products", where=str(source), help=help)
        metadata = others[0] if others else None
    events = _table(path, _EVENTS, lambda record: _event(record, form))
    index = events.schema.get_field_index("time")
    events = events.set_column(index, "timestamp", moments(events["time"].combine_chunks(), form.unit))
    if not any(events["verified_purchase"].is_valid().to_pylist()[:_CHUNK]):
        events = events.drop_columns(["verified_purchase"])
    origins = {"interactions.rating": "Stars", "interactions.timestamp": f"`{form.time}` of {path.name}"}
    items = None
    if metadata is not None:
        items = from_arrow(_table(metadata, _ITEMS, _product), metadata)
        origins |= {
            "items.creator": f"`brand` or `store` of {metadata.name}",
            "items.categories": f"`categories` of {metadata.name}",
            "items.price": f"`price` of {metadata.name}; missing where it is a range",
        }
    return Found(
        kind=f"Amazon reviews, the form of {form.name}" + (f", with {metadata.name}" if metadata else ""),
        items=items,
        users=None,
        interactions=from_arrow(events, path),
        origins=origins,
    )


# ---- which file is which --------------------------------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    """The JSON files of a folder, compressed or not."""
    found = sorted(path for path in folder.iterdir() if path.is_file())
    return [p for p in found if (p.with_suffix("") if p.suffix in COMPRESSED else p).suffix in _ENDINGS]


def _reviews(source: Path) -> list[tuple[Path, _Form]]:
    """The files of reviews at a path, with their forms."""
    paths = _files(source) if source.is_dir() else [source] if source.is_file() else []
    begun = ((path, _begin(path)) for path in paths)
    return [
        (path, form) for path, first in begun for form in _FORMS if {form.user, form.item, form.rating} <= set(first)
    ]


def _holds_products(first: Mapping[str, Any]) -> bool:
    return bool({"asin", "parent_asin"} & set(first)) and not {"reviewerID", "user_id"} & set(first)


def _begin(path: Path) -> dict[str, Any]:
    """The first object of a file; an empty one where there is none."""
    try:
        with lines(path) as numbered:
            return next((_object(text, "") for _, text in islice(numbered, 100) if text.strip()), {})
    except UsageError:
        return {}


# ---- lines ----------------------------------------------------------------------------------------------------------


def _object(text: str, where: str) -> dict[str, Any]:
    """One line, as JSON or, as in the metadata of 2014, as a Python literal."""
    if text.lstrip().startswith("{'"):
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise UsageError("neither JSON nor a Python literal", where=where) from None
        if isinstance(value, dict):
            return value
    return json_object(text, where, "each line is one review or one product")


def _table(path: Path, schema: pa.Schema, row: Callable[[Mapping[str, Any]], dict[str, Any]]) -> pa.Table:
    """The rows that `row` makes from the lines of a file."""
    batches = []
    with lines(path) as numbered:
        rows: Iterator[dict[str, Any]] = (
            row(_object(text, f"{path}, line {number}")) for number, text in numbered if text.strip()
        )
        while chunk := list(islice(rows, _CHUNK)):
            batches.append(pa.RecordBatch.from_pylist(chunk, schema))
    if not batches:
        raise UsageError("the file is empty", where=str(path), help="it needs at least one line")
    return pa.Table.from_batches(batches)


def _event(record: Mapping[str, Any], form: _Form) -> dict[str, Any]:
    bought = record.get(form.bought)
    return {
        "user_id": _text(record.get(form.user)),
        "item_id": _text(record.get(form.item)),
        "rating": _number(record.get(form.rating)),
        "time": _number(record.get(form.time)),
        "verified_purchase": bought if isinstance(bought, bool) else None,
    }


def _product(record: Mapping[str, Any]) -> dict[str, Any]:
    category = record.get("categories") or record.get("category") or None
    return {
        "item_id": _text(record.get("parent_asin") or record.get("asin")),
        "title": _text(record.get("title")),
        "creator": _text(record.get("brand") or record.get("store")),
        "categories": None if category is None else list(dict.fromkeys(_words(category))),
        "price": _price(record.get("price")),
    }


def _words(value: Any) -> Iterator[str]:
    """The words of a category, a path of categories or a list of paths."""
    if isinstance(value, list):
        for inner in value:
            yield from _words(inner)
    elif (text := _text(value)) is not None:
        yield text


def _text(value: Any) -> str | None:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text or None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _price(value: Any) -> float | None:
    """A price as a number, or as text with a dollar sign; None for a range and for anything else."""
    if isinstance(value, str):
        found = _PRICE.fullmatch(value.strip())
        return float(found[1].replace(",", "")) if found else None
    return _number(value)

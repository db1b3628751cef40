"""Defines the policy language, from text to typed policy: parser, syntax tree, checker and formatter.

`Node` is the base of both trees, the parser's and the checker's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import dataclass_transform

from recpolicy.span import Span

__all__ = ["Node"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True, repr=False)
class Node:
    """A place in the source; every node of a tree has one. Subclasses become frozen dataclasses.

    One `__repr__` serves all: to generate one for each class would take a tenth of what `recpolicy check` takes.
    """

    span: Span = field(compare=False)

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, repr=False)(cls)

    def __repr__(self) -> str:
        parts = (f"{part.name}={getattr(self, part.name)!r}" for part in fields(self) if part.name != "span")
        return f"{type(self).__name__}({', '.join(parts)})"

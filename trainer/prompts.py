"""Rows of a data set in, prompts and training completions out, as text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from recpolicy.dataset import Dataset, Rows
from recpolicy.errors import UsageError
from recpolicy.schema import Role
from recpolicy.slate import item_token
from recpolicy.table import Ints, ListColumn, NumberColumn, Ragged, WordColumn
from recpolicy.trainer.config import Prompt
from recpolicy.types import Type

LATELY = 10
"""Most recent items that count as a user's recent taste."""


@dataclass(frozen=True)
class Prompter:
    """Puts the rows of one data set into words."""

    dataset: Dataset
    settings: Prompt
    k: int

    def prompts(self, rows: Rows) -> list[str]:
        """One prompt a row. Raises UsageError for a template that cannot be rendered."""
        environment = ImmutableSandboxedEnvironment(autoescape=False)
        try:
            template = environment.from_string(self.settings.template)
            likes = self._topics(rows.history)
            profiles = self._profiles()
            return [
                template.render(
                    profile=profiles[user],
                    topics=self._words(likes[i], 5),
                    history=" ".join(item_token(v) for v in rows.history.row(i)[-self.settings.history :]),
                    k=self.k,
                )
                for i, user in enumerate(rows.user)
            ]
        except TemplateError as error:
            raise UsageError(
                f"the prompt template cannot be rendered: {error}", help="see docs/training.md, `prompt.template`"
            ) from error

    def completions(self, rows: Rows) -> list[str]:
        """The training completion of each row: reasoning built from the data, then what the user took next."""
        likes, lately = self._topics(rows.history), self._topics(rows.history.last(LATELY))
        plan = self._topics(rows.next_items)
        texts = []
        for i in range(len(rows)):
            answer = " ".join(item_token(v) for v in rows.next_items.row(i)[: self.k])
            think = ""
            if self.settings.think:
                taste = f"likes {self._words(likes[i], 2)} lately {self._words(lately[i], 2)}"
                think = f"<think> {taste} plan {self._words(plan[i], 3)} </think> "
            texts.append(f"{think}<answer> {answer} </answer>")
        return texts

    def about(self) -> list[str]:
        """What each item is, in words, [items]."""
        every = Ragged.of([[row] for row in range(self.dataset.items.rows)])
        return [self._words(counts, 5) for counts in self._topics(every)]

    @cached_property
    def _topic_column(self) -> ListColumn | WordColumn | None:
        """The item column that says what an item is about: the first list of categories, else the first category."""
        columns = self.dataset.items.columns
        lists = [c for c in columns.values() if isinstance(c, ListColumn)]
        roles = {name for name, spec in self.dataset.schema.item.items() if spec.role in (Role.ID, Role.CREATOR)}
        words = [
            c
            for name, c in columns.items()
            if isinstance(c, WordColumn) and c.type is Type.CATEGORY and name not in roles
        ]
        return lists[0] if lists else words[0] if words else None

    def _topics(self, items: Ragged) -> Ints:
        """How often each topic occurs in each row's items, [rows, topics]."""
        column = self._topic_column
        row = np.repeat(np.arange(len(items)), items.lengths)
        if column is None:
            return np.zeros((len(items), 0), np.int64)
        if isinstance(column, ListColumn):
            held = column.values.take(items.values.astype(np.int64))
            row, codes = np.repeat(row, held.lengths), held.values
        else:
            codes = column.values[items.values]
            row, codes = row[codes >= 0], codes[codes >= 0]
        width = len(column.words)
        counts = np.bincount(row * width + codes, minlength=len(items) * width)
        return counts.reshape(-1, width)

    def _words(self, counts: Ints, most: int) -> str:
        """The most frequent topics in words, the first of equals first."""
        column = self._topic_column
        if column is None or not counts.any():
            return "anything"
        top = np.argsort(-counts, kind="stable")[:most]
        return " ".join(column.words[t] for t in top if counts[t] > 0)

    def _profiles(self) -> list[str]:
        """Each user's attributes in words: categories and small whole numbers."""
        parts: list[list[str]] = [[] for _ in range(self.dataset.users.rows)]
        for name, spec in self.dataset.schema.user.items():
            column = self.dataset.users.columns.get(name)
            if spec.role is Role.ID or column is None:
                continue
            match column:
                case WordColumn(type=Type.CATEGORY, values=codes, words=words) if len(words) <= 100:
                    for user, code in enumerate(codes):
                        if code >= 0:
                            parts[user].append(f"{name} {words[code]}")
                case NumberColumn(type=Type.INT, values=values) if len(np.unique(values)) <= 100:
                    for user, value in enumerate(values):
                        if not np.isnan(value):
                            parts[user].append(f"{name} {int(value)}")
                case _:
                    pass
        return [" ".join(p) if p else "unknown" for p in parts]

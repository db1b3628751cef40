"""Describes the form of a completion: which tokens are allowed at each of its places.

A completion is `<think> words </think><answer> items </answer>` and an end of text. Sampling and scoring use the same
object, so both see one distribution. Most places allow one token only; the choices are those of words, and those of the
items that an `ItemMask` allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import torch
from torch import Tensor

from recpolicy.dataset.columns import Codes


class Place(IntEnum):
    """What the next token of a completion is."""

    WORD = 0
    """A word of reasoning, or the end of it."""
    CLOSE_THINK = 1
    OPEN_ANSWER = 2
    ITEM = 3
    CLOSE_ANSWER = 4
    END = 5
    NOTHING = 6
    """After the end: padding."""


@dataclass(frozen=True)
class AnswerFormat:
    """Token ids that make up a completion. Items are the contiguous ids `[item_base, item_base + items)`."""

    think_open: int
    think_close: int
    answer_open: int
    answer_close: int
    end: int
    pad: int
    word_ids: tuple[int, ...]
    """Tokens that reasoning may use."""
    item_base: int
    items: int
    slate: int
    """K."""
    max_think: int
    """Longest reasoning in tokens; 0: no `<think>` at all."""

    @property
    def longest(self) -> int:
        """Number of tokens of the longest completion, end of text included."""
        return (self.max_think + 2 if self.max_think else 0) + self.slate + 3

    @property
    def opening(self) -> int:
        """The token that every completion begins with."""
        return self.think_open if self.max_think else self.answer_open

    @property
    def item_columns(self) -> slice:
        """The columns of the vocabulary that are items."""
        return slice(self.item_base, self.item_base + self.items)

    @property
    def word_columns(self) -> slice:
        """The columns of the vocabulary that are words or parts of the form."""
        return slice(0, self.item_base)

    def is_item(self, ids: Tensor) -> Tensor:
        """Returns which of the ids are items, a bool tensor of the same shape."""
        return (ids >= self.item_base) & (ids < self.item_base + self.items)

    def tokens(self, items: Codes) -> frozenset[int]:
        """Returns the tokens of items, which are given as rows of the items table."""
        return frozenset((items + self.item_base).tolist())

    def places(self, previous: Tensor, words: Tensor, items: Tensor, legal_left: Tensor) -> Tensor:
        """Returns the place after each token. All arguments and the result have the same shape.

        `previous` are token ids, `words` and `items` the number of each so far, `legal_left` whether a legal item is
        left.
        """
        place = torch.where(words >= self.max_think, int(Place.CLOSE_THINK), int(Place.WORD))
        open_slot = (items < self.slate) & legal_left
        after_item = torch.where(open_slot, int(Place.ITEM), int(Place.CLOSE_ANSWER))
        place = torch.where((previous == self.answer_open) | self.is_item(previous), after_item, place)
        for token, following in (
            (self.think_close, Place.OPEN_ANSWER),
            (self.answer_close, Place.END),
            (self.end, Place.NOTHING),
            (self.pad, Place.NOTHING),
        ):
            place = torch.where(previous == token, int(following), place)
        return place

    @cached_property
    def forced(self) -> Tensor:
        """The only token each place allows, [places]; -1 where there is a choice."""
        token = {Place.CLOSE_THINK: self.think_close, Place.OPEN_ANSWER: self.answer_open}
        token |= {Place.CLOSE_ANSWER: self.answer_close, Place.END: self.end, Place.NOTHING: self.pad}
        return torch.tensor([token.get(place, -1) for place in Place])

    @cached_property
    def reasoning(self) -> Tensor:
        """Which tokens below `item_base` are allowed at the place of a word: words and `</think>`, [item_base] bool."""
        allowed = torch.zeros(self.item_base, dtype=torch.bool)
        allowed[[*self.word_ids, self.think_close]] = True
        return allowed

    def chosen(self, completion: Tensor) -> slice:
        """Returns the columns of finished completions [B, T] that hold all choices, at least one column.

        The first token is forced, and all tokens after the items are.
        """
        after = torch.tensor([self.answer_close, self.end, self.pad], device=completion.device)
        return slice(1, max(2, int((~torch.isin(completion, after)).any(0).sum())))

    def chosen_items(self, completion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Finds the items of finished completions [B, T]: row, column and rank in the slate (from 0) of each, [N]."""
        item = self.is_item(completion)
        row, at = item.nonzero(as_tuple=True)
        return row, at, (item.cumsum(1) - 1)[row, at]

    def chosen_words(self, completion: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the words of finished completions [B, T] and each `</think>` that was a choice: row and column, [N]."""
        word = self.is_word(completion)
        ended = (completion == self.think_close) & (word.sum(1, keepdim=True) < self.max_think)
        row, at = (word | ended).nonzero(as_tuple=True)
        return row, at

    def is_word(self, ids: Tensor) -> Tensor:
        """Returns which of the ids are neither items nor parts of the form, a bool tensor of the same shape."""
        form = (self.think_open, self.think_close, self.answer_open, self.answer_close, self.end, self.pad)
        return ~self.is_item(ids) & ~torch.isin(ids, torch.tensor(form, device=ids.device))

    def spread(self, places: Tensor, whole: Tensor, completion: Tensor) -> Tensor:
        """Returns the advantage of each token, [B, T], from those of the places [B, K] and of the `whole` slates [B].

        An item's token has that of its place, the tokens before the first item that of the slate, later ones 0.
        """
        item = self.is_item(completion)
        following = item.cumsum(1) - item.long()  # rank of the item at or after each token
        after = following >= item.sum(1, keepdim=True)
        own = places.gather(1, following.clamp(max=self.slate - 1)).masked_fill(after, 0.0)
        return torch.where(item | after, own, whole[:, None])

    def slates(self, completion: Tensor) -> Tensor:
        """Returns the slates of completions [B, T], item rows [B, K]; short slates have -1 at the end."""
        row, at, rank = self.chosen_items(completion)
        slates = torch.full((len(completion), self.slate), -1, dtype=torch.int32, device=completion.device)
        slates[row, rank] = (completion[row, at] - self.item_base).to(torch.int32)
        return slates

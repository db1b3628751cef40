"""The form of a completion in, the tokens allowed at each of its places out.

A completion is `<think> words </think><answer> items </answer>` and an end of text. Sampling and scoring ask the same
object which tokens may come next, so both see one distribution. Most places allow one token only; a choice is made
among words, and among the items that a `Shelf` holds open.
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

    OPEN_THINK = 0
    WORD = 1
    """A word of reasoning, or the end of it."""
    CLOSE_THINK = 2
    OPEN_ANSWER = 3
    ITEM = 4
    CLOSE_ANSWER = 5
    END = 6
    NOTHING = 7
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
        """Tokens of the longest completion, end of text included."""
        return (self.max_think + 2 if self.max_think else 0) + self.slate + 3

    def first(self) -> Place:
        """The place a completion starts with."""
        return Place.OPEN_THINK if self.max_think else Place.OPEN_ANSWER

    @property
    def item_columns(self) -> slice:
        """The items in the vocabulary."""
        return slice(self.item_base, self.item_base + self.items)

    @property
    def word_columns(self) -> slice:
        """Words and the form in the vocabulary."""
        return slice(0, self.item_base)

    def is_item(self, ids: Tensor) -> Tensor:
        """Which of the ids, any shape, are items."""
        return (ids >= self.item_base) & (ids < self.item_base + self.items)

    def tokens(self, items: Codes) -> frozenset[int]:
        """The tokens of these item rows."""
        return frozenset((items + self.item_base).tolist())

    def places(self, previous: Tensor, words: Tensor, items: Tensor, legal_left: Tensor) -> Tensor:
        """The place after each token: all arguments and the result of one shape.

        `previous` token ids, `words` of reasoning and `items` of the answer so far, and whether a legal item is left.
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
        token = torch.full((len(Place),), -1)
        token[Place.OPEN_THINK], token[Place.CLOSE_THINK] = self.think_open, self.think_close
        token[Place.OPEN_ANSWER], token[Place.CLOSE_ANSWER] = self.answer_open, self.answer_close
        token[Place.END], token[Place.NOTHING] = self.end, self.pad
        return token

    @cached_property
    def reasoning(self) -> Tensor:
        """Which tokens below `item_base` may stand where a word may, [item_base] bool: words and the end of them."""
        allowed = torch.zeros(self.item_base, dtype=torch.bool)
        allowed[[*self.word_ids, self.think_close]] = True
        return allowed

    def chosen(self, completion: Tensor) -> slice:
        """The columns of finished completions [B, T] in which all choices lie, at least one.

        The first token is forced, as is all that follows the items.
        """
        after = torch.tensor([self.answer_close, self.end, self.pad], device=completion.device)
        return slice(1, max(2, int((~torch.isin(completion, after)).any(0).sum())))

    def chosen_items(self, completion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row, token and rank (from 0) of every item of finished completions [B, T]; three vectors of one length."""
        item = self.is_item(completion)
        row, at = item.nonzero(as_tuple=True)
        return row, at, (item.cumsum(1) - 1)[row, at]

    def chosen_words(self, completion: Tensor) -> tuple[Tensor, Tensor]:
        """Row and token of every word of finished completions [B, T], and of every end of reasoning that was free."""
        word = self.is_word(completion)
        ended = (completion == self.think_close) & (word.sum(1, keepdim=True) < self.max_think)
        row, at = (word | ended).nonzero(as_tuple=True)
        return row, at

    def is_word(self, ids: Tensor) -> Tensor:
        """Which of the ids, any shape, are neither items nor parts of the form."""
        form = torch.tensor(
            [self.think_open, self.think_close, self.answer_open, self.answer_close, self.end, self.pad],
            device=ids.device,
        )
        return ~self.is_item(ids) & ~torch.isin(ids, form)

    def spread(self, places: Tensor, whole: Tensor, completion: Tensor) -> Tensor:
        """Each place's credit [B, K] on its item's token, [B, T].

        The tokens before the first item carry that of the `whole` slate [B], those after the last item none.
        """
        item = self.is_item(completion)
        following = item.cumsum(1) - item.long()  # rank of the item at or after each token
        done = following >= item.sum(1, keepdim=True)
        own = places.gather(1, following.clamp(max=self.slate - 1)).masked_fill(done, 0.0)
        return torch.where(item | done, own, whole[:, None])

    def slates(self, completion: Tensor) -> Tensor:
        """Item rows of each completion in order, [B, T] ids to [B, K]; holes (-1) fill what is missing at the end."""
        row, at, rank = self.chosen_items(completion)
        slates = torch.full((len(completion), self.slate), -1, dtype=torch.int32, device=completion.device)
        slates[row, rank] = (completion[row, at] - self.item_base).to(torch.int32)
        return slates

"""The form of a completion in, the tokens allowed at each of its places out.

A completion is `<think> words </think><answer> items </answer>` and an end of text. Sampling and scoring ask the same
object which tokens may come next, so both see one distribution (training.md, GRPO point 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor


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

    def is_item(self, ids: Tensor) -> Tensor:
        """Which of the ids, any shape, are items."""
        return (ids >= self.item_base) & (ids < self.item_base + self.items)

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

    def tokens(self, vocabulary: int, device: torch.device) -> Tensor:
        """Tokens each place allows before slates are looked at, [places, vocabulary] bool."""
        allowed = torch.zeros(len(Place), vocabulary, dtype=torch.bool, device=device)
        allowed[Place.OPEN_THINK, self.think_open] = True
        allowed[Place.WORD, list(self.word_ids)] = True
        allowed[Place.WORD, self.think_close] = True
        allowed[Place.CLOSE_THINK, self.think_close] = True
        allowed[Place.OPEN_ANSWER, self.answer_open] = True
        allowed[Place.ITEM, self.item_base : self.item_base + self.items] = True
        allowed[Place.CLOSE_ANSWER, self.answer_close] = True
        allowed[Place.END, self.end] = True
        allowed[Place.NOTHING, self.pad] = True
        return allowed

    def allowed(self, completion: Tensor, legal: Tensor, vocabulary: int) -> Tensor:
        """Tokens allowed at every place of finished completions, given what stands before it.

        `completion` [B, T] ids padded on the right, `legal` [B, items] bool. Returns [B, T, vocabulary] bool.
        """
        batch, length = completion.shape
        taken = self.is_item(completion)  # [B, T]
        word = self.is_word(completion)
        before = torch.zeros(batch, length, self.items, dtype=torch.bool, device=completion.device)
        if length > 1:
            rows, places = taken[:, :-1].nonzero(as_tuple=True)
            before[rows, places + 1, completion[rows, places] - self.item_base] = True
        left = legal[:, None, :] & (before.cumsum(1) == 0)  # [B, T, items]
        previous = completion[:, :-1]
        place = torch.full_like(completion, int(self.first()))
        place[:, 1:] = self.places(previous, word.cumsum(1)[:, :-1], taken.cumsum(1)[:, :-1], left[:, 1:].any(-1))
        allowed = self.tokens(vocabulary, completion.device)[place]  # [B, T, vocabulary]
        allowed[:, :, self.item_base : self.item_base + self.items] &= left
        return allowed

    def is_word(self, ids: Tensor) -> Tensor:
        """Which of the ids, any shape, are neither items nor parts of the form."""
        form = torch.tensor(
            [self.think_open, self.think_close, self.answer_open, self.answer_close, self.end, self.pad],
            device=ids.device,
        )
        return ~self.is_item(ids) & ~torch.isin(ids, form)

    def spread(self, credit: Tensor, completion: Tensor) -> Tensor:
        """Each place's credit on its item's token, [B, K] and [B, T] to [B, T].

        The tokens before the first item carry that of the first place, those after the last item none.
        """
        item = self.is_item(completion)
        following = item.cumsum(1) - item.long()  # rank of the item at or after each token
        done = following >= item.sum(1, keepdim=True)
        return credit.gather(1, following.clamp(max=self.slate - 1)).masked_fill(done, 0.0)

    def slates(self, completion: Tensor) -> Tensor:
        """Item rows of each completion in order, [B, T] ids to [B, K]; holes (-1) fill what is missing at the end."""
        batch = completion.shape[0]
        taken = self.is_item(completion)
        rank = taken.cumsum(1) - 1
        rows, places = (taken & (rank < self.slate)).nonzero(as_tuple=True)
        slates = torch.full((batch, self.slate), -1, dtype=torch.int32, device=completion.device)
        slates[rows, rank[rows, places]] = (completion[rows, places] - self.item_base).to(torch.int32)
        return slates

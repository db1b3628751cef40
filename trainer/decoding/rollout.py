"""A model, prompts and the items open to them in, completions out: masked decoding, alike prompts run once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from recpolicy.dataset.columns import Ragged
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.answer_format import AnswerFormat, Place
from recpolicy.trainer.decoding.item_mask import ItemMask
from recpolicy.trainer.decoding.prefix_sharing import branch, going_on, left_pad, why_not


def chances(seed: int, step: int, first: int, rows: int, longest: int) -> Tensor:
    """Random numbers in (0, 1] for the texts of one step, [rows, longest]; the first row is number `first` of the step.

    They depend on seed, step and the row's number alone, so a text is the same whichever process and batch its row is
    in. Philox 4x64 (Salmon et al. 2011) with seed and step as its key, counting in rows.
    """
    blocks = -(-longest // 4)  # it makes four numbers at a time
    bits = np.random.Philox(key=np.array([seed % 2**64, step], np.uint64)).advance(first * blocks)
    drawn = np.random.Generator(bits).random((rows, 4 * blocks))[:, :longest]
    return torch.from_numpy(1.0 - drawn).float()


def drawn(probabilities: Tensor, chance: Tensor) -> Tensor:
    """A column of each row [N, V], drawn by the row's `chance` in (0, 1]; never one of probability 0.

    By the inverse of the distribution function: one random number a row, where torch.multinomial draws one a column.
    """
    rising = probabilities.cumsum(-1)
    return torch.searchsorted(rising, chance[:, None] * rising[:, -1:])[:, 0]


class Reader:
    """A model that has read rows of text and reads on, tokens a row at a time. Prompts that are alike are read once.

    A model whose prompts cannot be shared (`prefix.why_not`) reads every row anew each time.
    """

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]], pad: int, room: int) -> None:
        """`room`: at most so many tokens will follow."""
        self._model = model
        number: dict[tuple[int, ...], int] = {}
        which = torch.tensor([number.setdefault(tuple(p), len(number)) for p in prompts], device=model.device)
        ids, mask = (t.to(model.device) for t in left_pad([list(p) for p in number], pad))
        self._ids, self._mask = ids[which], mask[which]
        self._cache: DynamicCache | None = None
        if why_not(model) is None:
            states, self._cache = prefix_sharing.read(model, ids, mask)
            branch(model, self._cache, which, room)
            self._states = states[which, -1:]
        else:
            self._read_anew()

    def read(self, tokens: Tensor) -> None:
        """Read further tokens [B, T] in every row."""
        self._mask = torch.cat([self._mask, torch.ones_like(tokens)], 1)
        if self._cache is None:
            self._ids = torch.cat([self._ids, tokens], 1)
            self._read_anew()
            return
        with going_on(self._model, self._cache):
            states, _ = prefix_sharing.read(self._model, tokens, self._mask, self._cache)
        self._states = states[:, -1:]

    def states(self, rows: Tensor) -> Tensor:
        """What the head reads behind all that the rows [N] have read, [N, H]."""
        return self._states[rows, 0]

    def logits(self, rows: Tensor, columns: slice) -> Tensor:
        """Those of the tokens `columns` behind all that the rows [N] have read, [N, columns]."""
        return prefix_sharing.logits(self._model, self._states[rows], columns)[:, 0]

    def _read_anew(self) -> None:
        states, _ = prefix_sharing.read(self._model, self._ids, self._mask, use_cache=False)
        self._states = states[:, -1:]  # [B, 1, H]


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    form: AnswerFormat,
    prompts: list[list[int]],
    item_mask: ItemMask,
    *,
    temperature: float = 1.0,
    chance: Tensor | None = None,
    hear: Callable[[Tensor, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """A completion for each prompt under the mask of `form` and `shelf`, [B, T] ids padded on the right.

    Prompts that are alike are run once, with the token that every completion begins with. Each choice is made by the
    number that `chance` [B, form.longest], see `chances`, has for its row and place in the text; without, greedily.
    Behind the prompts, and each time before items are chosen, `hear` is told of rows [N] the place in the slate that
    each is at [N] and what the head reads there [N, H].
    """
    device = item_mask.allowed.device
    chance = None if chance is None else chance.to(device)
    forced, reasoning = form.forced.to(device), form.reasoning.to(device)
    begin = int(form.forced[form.first()])
    reader = Reader(model, [[*prompt, begin] for prompt in prompts], form.pad, form.longest)
    items = form.item_columns
    token = torch.full((len(prompts),), begin, device=device)
    words, taken = torch.zeros_like(token), torch.zeros_like(token)

    def choose(rows: Tensor, scores: Tensor, allowed: Tensor) -> Tensor:
        scores = scores.float().masked_fill(~allowed, -torch.inf)
        if chance is None:
            return scores.argmax(-1)
        return drawn((scores / temperature).softmax(-1), chance[rows, len(completion)])

    if hear is not None:
        every = torch.arange(len(prompts), device=device)
        hear(every, taken, reader.states(every))
    completion, unread = [token], list[Tensor]()
    while True:
        place = form.places(token, words, taken, item_mask.allowed.any(-1))
        if bool((place == Place.NOTHING).all()):
            return torch.stack(completion, 1)
        token = forced[place]
        if unread and bool((token < 0).any()):  # as long as all is forced, nobody needs to be asked
            reader.read(torch.stack(unread, 1))
            unread = []
        word = (place == Place.WORD).nonzero()[:, 0]
        if len(word):
            token[word] = choose(word, reader.logits(word, form.word_columns), reasoning)
        item = (place == Place.ITEM).nonzero()[:, 0]
        if len(item):
            if hear is not None:
                hear(item, taken[item], reader.states(item))
            chosen = choose(item, item_mask.logits(item, reader.logits(item, items)), item_mask.allowed[item])
            item_mask.advance(item, taken[item], chosen)
            token[item] = chosen + form.item_base
        words += form.is_word(token)
        taken[item] += 1
        completion.append(token)
        unread.append(token)


@torch.no_grad()
def first_items(
    model: PreTrainedModel,
    form: AnswerFormat,
    prompts: list[list[int]],
    legal: Tensor,
    prior: Tensor | None = None,
) -> Tensor:
    """Log-probabilities of the items at the slate's first place after greedy reasoning, [B, items]; -inf if illegal."""
    first = torch.zeros(len(prompts), dtype=torch.long)
    _, _, logits = slates_until(model, form, prompts, legal, first)
    logits = logits if prior is None else logits + prior
    return logits.masked_fill(~legal, -torch.inf).log_softmax(-1)


@torch.no_grad()
def slates_until(
    model: PreTrainedModel,
    form: AnswerFormat,
    prompts: list[list[int]],
    legal: Tensor,
    place: Tensor,
    prior: Tensor | None = None,
) -> tuple[list[list[int]], Tensor, Tensor]:
    """Greedy slates of `legal` items [B, items] until a place of each, `place` [B] from 0, and the head's part in it.

    That is what it reads before that place, [B, H], and its own logits of the items there, [B, items]; items are chosen
    by these and the `prior` [B, items]. Where the legal items end
    before that place is reached, it is the last place there is; where there are none, the end of the prompt.
    """
    place, heard = place.to(model.device), list[tuple[Tensor, Tensor, Tensor]]()

    def hear(rows: Tensor, at: Tensor, states: Tensor) -> None:
        not_past = at <= place[rows]
        heard.append((rows[not_past], at[not_past], states[not_past]))

    form = replace(form, slate=int(place.max()) + 1)
    slates = form.slates(decode(model, form, prompts, ItemMask(legal, prior=prior), hear=hear)).tolist()
    rows, at, states = map(torch.cat, zip(*heard, strict=True))
    last = torch.zeros_like(place).scatter_reduce(0, rows, torch.arange(len(rows), device=rows.device), "amax")
    logits = prefix_sharing.logits(model, states[last, None], form.item_columns)[:, 0]
    until = [slate[:end] for slate, end in zip(slates, at[last].tolist(), strict=True)]
    return until, states[last].float(), logits.float()


@torch.no_grad()
def next_items(model: PreTrainedModel, form: AnswerFormat, prompts: list[list[int]], histories: Ragged) -> Tensor:
    """Logits of the items behind the last item of each prompt that is in the row's history, [B, items].

    Behind a prompt that names none: behind its end. The items of a candidate pool are none of them.
    """
    taken = (form.tokens(histories.row(i)) for i in range(len(prompts)))
    pairs = zip(prompts, taken, strict=True)
    last = (max((at for at, token in enumerate(p) if token in own), default=len(p) - 1) for p, own in pairs)
    told = [prompt[: at + 1] for prompt, at in zip(prompts, last, strict=True)]
    ids, mask = (t.to(model.device) for t in left_pad(told, form.pad))
    states, _ = prefix_sharing.read(model, ids, mask, use_cache=False)
    return prefix_sharing.logits(model, states[:, -1:], form.item_columns)[:, 0].float()

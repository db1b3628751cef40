"""Decodes completions of prompts under an item mask, and runs equal prompts only once."""

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


def uniforms(seed: int, step: int, first: int, rows: int, longest: int) -> Tensor:
    """Draws random numbers in (0, 1] for the completions of one step, [rows, longest].

    The first row is number `first` of the step. The numbers depend on seed, step and the row's number alone, so a
    completion is the same in any process and batch. Philox 4x64 (Salmon et al. 2011), keyed by seed and step, counts
    the rows.
    """
    blocks = -(-longest // 4)  # Philox yields four numbers a block
    bits = np.random.Philox(key=np.array([seed % 2**64, step], np.uint64)).advance(first * blocks)
    uniform = np.random.Generator(bits).random((rows, 4 * blocks))[:, :longest]
    return torch.from_numpy(1.0 - uniform).float()


def sample_columns(probabilities: Tensor, draws: Tensor) -> Tensor:
    """Samples a column of each row of probabilities [N, V], [N]; never a column of probability 0.

    The column is the first whose cumulative probability reaches the row's `draws` [N] in (0, 1]. This takes one random
    number a row, where torch.multinomial draws one a column.
    """
    cumulative = probabilities.cumsum(-1)
    return torch.searchsorted(cumulative, draws[:, None] * cumulative[:, -1:])[:, 0]


def item_logits(model: PreTrainedModel, form: AnswerFormat, states: Tensor, candidates: Tensor | None) -> Tensor:
    """Computes the logits of all items for states [B, T, H], [B, T, items], or of each row's candidates, [B, T, C]."""
    if candidates is None:
        return prefix_sharing.logits(model, states, form.item_columns)
    return prefix_sharing.logits_at(model, states, candidates + form.item_base)


class Reader:
    """A model that has read rows of tokens and can read more tokens of each. Equal prompts are read once.

    A model whose prompts cannot be shared (`prefix_sharing.why_not`) reads the whole row again each time.
    """

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]], pad: int, room: int) -> None:
        """Reads the prompts; at most `room` tokens can follow."""
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
            self._read_all()

    def read(self, tokens: Tensor) -> None:
        """Reads further tokens [B, T] in every row."""
        self._mask = torch.cat([self._mask, torch.ones_like(tokens)], 1)
        if self._cache is None:
            self._ids = torch.cat([self._ids, tokens], 1)
            self._read_all()
            return
        with going_on(self._model, self._cache):
            states, _ = prefix_sharing.read(self._model, tokens, self._mask, self._cache)
        self._states = states[:, -1:]

    def states(self, rows: Tensor) -> Tensor:
        """Returns the states before the head at the end of the rows [N], [N, H]."""
        return self._states[rows, 0]

    def logits(self, rows: Tensor, columns: slice) -> Tensor:
        """Returns the logits of the tokens `columns` at the end of the rows [N], [N, C]."""
        return prefix_sharing.logits(self._model, self._states[rows], columns)[:, 0]

    def item_logits(self, rows: Tensor, form: AnswerFormat, candidates: Tensor | None) -> Tensor:
        """Returns the logits of the items, or of the `candidates` [B, C], at the end of the rows [N], [N, C]."""
        own = None if candidates is None else candidates[rows]
        return item_logits(self._model, form, self._states[rows], own)[:, 0]

    def _read_all(self) -> None:
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
    draws: Tensor | None = None,
    on_states: Callable[[Tensor, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Decodes a completion for each prompt under `form` and `item_mask`, [B, T] ids padded on the right.

    Equal prompts are run once, with the token that every completion begins with. `draws` [B, form.longest] holds the
    random number of each row and column (see `uniforms`); without it, decoding is greedy. `on_states` is called at the
    end of the prompts and each time before items are chosen, with rows [N], the place of the slate that each has
    reached [N], and the states before the head [N, H].
    """
    device = item_mask.allowed.device
    draws = None if draws is None else draws.to(device)
    forced, reasoning = form.forced.to(device), form.reasoning.to(device)
    reader = Reader(model, [[*prompt, form.opening] for prompt in prompts], form.pad, form.longest)
    token = torch.full((len(prompts),), form.opening, device=device)
    words, taken = torch.zeros_like(token), torch.zeros_like(token)

    def choose(rows: Tensor, scores: Tensor, allowed: Tensor) -> Tensor:
        scores = scores.float().masked_fill(~allowed, -torch.inf)
        if draws is None:
            return scores.argmax(-1)
        return sample_columns((scores / temperature).softmax(-1), draws[rows, len(completion)])

    if on_states is not None:
        every = torch.arange(len(prompts), device=device)
        on_states(every, taken, reader.states(every))
    completion, unread = [token], list[Tensor]()
    while True:
        place = form.places(token, words, taken, item_mask.allowed.any(-1))
        if bool((place == Place.NOTHING).all()):
            return torch.stack(completion, 1)
        token = forced[place]
        if unread and bool((token < 0).any()):  # forced tokens need no logits
            reader.read(torch.stack(unread, 1))
            unread = []
        word = (place == Place.WORD).nonzero()[:, 0]
        if len(word):
            token[word] = choose(word, reader.logits(word, form.word_columns), reasoning)
        item = (place == Place.ITEM).nonzero()[:, 0]
        if len(item):
            if on_states is not None:
                on_states(item, taken[item], reader.states(item))
            logits = item_mask.logits(item, reader.item_logits(item, form, item_mask.candidates))
            chosen = choose(item, logits, item_mask.allowed[item])
            item_mask.advance(item, taken[item], chosen)
            token[item] = item_mask.items(item, chosen) + form.item_base
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
    candidates: Tensor | None = None,
) -> Tensor:
    """Computes log p of each item at the slate's first place, after greedy reasoning, [B, items]; -inf if not legal.

    `candidates` [B, C] are the items of the columns, where these are not all items.
    """
    first = torch.zeros(len(prompts), dtype=torch.long)
    _, _, logits = slates_until(model, form, prompts, legal, first, candidates=candidates)
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
    candidates: Tensor | None = None,
) -> tuple[list[list[int]], Tensor, Tensor]:
    """Decodes greedy slates of `legal` items [B, items] up to a place of each row, `place` [B] from 0.

    Returns the items before that place, the states before the head there [B, H], and the model's own logits of the
    items there [B, items]. Items are chosen by these logits plus those of the `prior` [B, items]. If the legal items
    end earlier, the place is the last one that is reached; if there are none, it is the end of the prompt.
    """
    place, reached = place.to(model.device), list[tuple[Tensor, Tensor, Tensor]]()

    def on_states(rows: Tensor, at: Tensor, states: Tensor) -> None:
        not_past = at <= place[rows]
        reached.append((rows[not_past], at[not_past], states[not_past]))

    form = replace(form, slate=int(place.max()) + 1)
    item_mask = ItemMask(legal, prior=prior, candidates=candidates)
    slates = form.slates(decode(model, form, prompts, item_mask, on_states=on_states)).tolist()
    rows, at, states = map(torch.cat, zip(*reached, strict=True))
    last = torch.zeros_like(place).scatter_reduce(0, rows, torch.arange(len(rows), device=rows.device), "amax")
    logits = item_logits(model, form, states[last, None], candidates)[:, 0]
    until = [slate[:end] for slate, end in zip(slates, at[last].tolist(), strict=True)]
    return until, states[last].float(), logits.float()


@torch.no_grad()
def next_items(
    model: PreTrainedModel,
    form: AnswerFormat,
    prompts: list[list[int]],
    histories: Ragged,
    candidates: Tensor | None = None,
) -> Tensor:
    """Computes the logits of the items after the last history item that each prompt names, [B, items].

    With `candidates` [B, C] they are those of these items. If a prompt names none, they are those after its end. The
    items of a candidate pool do not count as history.
    """
    shortened = []
    for i, prompt in enumerate(prompts):
        taken = form.tokens(histories.row(i))
        last = max((at for at, token in enumerate(prompt) if token in taken), default=len(prompt) - 1)
        shortened.append(prompt[: last + 1])
    ids, mask = (t.to(model.device) for t in left_pad(shortened, form.pad))
    states, _ = prefix_sharing.read(model, ids, mask, use_cache=False)
    return item_logits(model, form, states[:, -1:], candidates)[:, 0].float()

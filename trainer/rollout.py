"""A model, prompts and the items open to them in, completions out: masked decoding, alike prompts run once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from recpolicy.trainer.answer import AnswerFormat, Place
from recpolicy.trainer.prefix import left_pad, positions, run_prompts, why_not
from recpolicy.trainer.shelf import Shelf


class RoomyLayer(DynamicLayer):
    """Keys and values with room for those to come: a further token is written, where a DynamicLayer copies all."""

    def __init__(self, layer: DynamicLayer, which: Tensor, room: int) -> None:
        """The rows `which` [B] of a layer, in this order, to hold at most `room` further tokens."""
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self._roomy = [self._with_room(told, which, room) for told in (layer.keys, layer.values)]
        length = layer.keys.shape[-2]
        self.keys, self.values = (told[:, :, :length] for told in self._roomy)

    @staticmethod
    def _with_room(told: Tensor, which: Tensor, room: int) -> Tensor:
        _, heads, length, width = told.shape
        roomy = told.new_empty(len(which), heads, length + room, width)
        roomy[:, :, :length] = told[which]
        return roomy

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, heads, tokens, width]; returns all there are."""
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        for told, new in zip(self._roomy, (key_states, value_states), strict=True):
            told[:, :, begin:end] = new
        self.keys, self.values = (told[:, :, :end] for told in self._roomy)
        return self.keys, self.values


def make_room(cache: DynamicCache, which: Tensor, room: int) -> None:
    """Keep the rows `which` [B] of a cache, in this order, with room for so many further tokens."""
    for at, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[at] = RoomyLayer(layer, which, room)
        else:
            layer.batch_select_indices(which)


def drawn(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """A column of each row [N, V], drawn with its probability; never one of probability 0.

    By the inverse of the distribution function: one random number a row, where torch.multinomial draws one a column.
    """
    rising = probabilities.cumsum(-1)
    wanted = 1.0 - torch.rand(len(rising), 1, generator=generator, device=rising.device)  # in (0, 1]
    return torch.searchsorted(rising, wanted * rising[:, -1:])[:, 0]


class Reader:
    """A model that has read rows of text and reads on, a token a row at a time. Prompts that are alike are read once.

    A model whose prompts cannot be shared (`prefix.why_not`) reads every row anew with every token.
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
            logits, self._cache = run_prompts(model, ids, mask)
            make_room(self._cache, which, room)
            self.logits = logits[which]
        else:
            self._read_anew()

    def read(self, token: Tensor) -> None:
        """Read a further token [B] in every row; `logits` [B, V] are then those behind it."""
        self._mask = torch.cat([self._mask, torch.ones_like(token)[:, None]], 1)
        if self._cache is None:
            self._ids = torch.cat([self._ids, token[:, None]], 1)
            self._read_anew()
            return
        out = self._model(
            input_ids=token[:, None],
            attention_mask=self._mask,
            position_ids=positions(self._mask)[:, -1:],
            past_key_values=self._cache,
            use_cache=True,
        )
        self.logits = out.logits[:, -1]

    def _read_anew(self) -> None:
        out = self._model(
            input_ids=self._ids,
            attention_mask=self._mask,
            position_ids=positions(self._mask),
            use_cache=False,
            logits_to_keep=1,
        )
        self.logits: Tensor = out.logits[:, -1]


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    form: AnswerFormat,
    prompts: list[list[int]],
    shelf: Shelf,
    *,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A completion for each prompt under the mask of `form` and `shelf`, [B, T] ids padded on the right.

    Prompts that are alike are run once. `temperature` None is greedy decoding.
    """
    device = shelf.open.device
    reader = Reader(model, prompts, form.pad, form.longest)
    items = slice(form.item_base, form.item_base + form.items)
    forced, reasoning = form.forced.to(device), form.reasoning.to(device)
    words = torch.zeros(len(prompts), dtype=torch.long, device=device)
    taken = torch.zeros_like(words)
    place = torch.full_like(words, int(form.first()))

    def choose(scores: Tensor, allowed: Tensor) -> Tensor:
        scores = scores.float().masked_fill(~allowed, -torch.inf)
        if temperature is None:
            return scores.argmax(-1)
        return drawn((scores / temperature).softmax(-1), generator)

    completion = []
    while True:
        token = forced[place]
        word = (place == Place.WORD).nonzero()[:, 0]
        if len(word):
            token[word] = choose(reader.logits[word, : form.item_base], reasoning)
        item = (place == Place.ITEM).nonzero()[:, 0]
        if len(item):
            chosen = choose(reader.logits[item, items], shelf.open[item])
            shelf.take(item, taken[item], chosen)
            token[item] = chosen + form.item_base
        completion.append(token)
        words += form.is_word(token)
        taken[item] += 1
        place = form.places(token, words, taken, shelf.open.any(-1))
        if bool((place == Place.NOTHING).all()):
            return torch.stack(completion, 1)
        if bool((place >= Place.END).all()):  # the end is forced: no need to ask the model
            completion.append(forced[place])
            return torch.stack(completion, 1)
        reader.read(token)


@torch.no_grad()
def first_items(model: PreTrainedModel, form: AnswerFormat, prompts: list[list[int]], legal: Tensor) -> Tensor:
    """Log-probabilities of the items at the slate's first place after greedy reasoning, [B, items]; -inf if illegal."""
    reasoned = decode(model, replace(form, slate=1), prompts, Shelf(legal))
    opened = (reasoned == form.answer_open).int().argmax(1).tolist()
    whole = [prompt + row[: at + 1].tolist() for prompt, row, at in zip(prompts, reasoned, opened, strict=True)]
    ids, mask = (t.to(legal.device) for t in left_pad(whole, form.pad))
    logits, _ = run_prompts(model, ids, mask)
    items = logits[:, form.item_base : form.item_base + form.items].float()
    return items.masked_fill(~legal, -torch.inf).log_softmax(-1)


@torch.no_grad()
def next_items(model: PreTrainedModel, form: AnswerFormat, prompts: list[list[int]]) -> Tensor:
    """Logits of the items behind the last item of each prompt, [B, items]; behind a prompt that names none, its end."""
    items = range(form.item_base, form.item_base + form.items)
    last = (max((at for at, token in enumerate(p) if token in items), default=len(p) - 1) for p in prompts)
    told = [prompt[: at + 1] for prompt, at in zip(prompts, last, strict=True)]
    ids, mask = (t.to(model.device) for t in left_pad(told, form.pad))
    logits, _ = run_prompts(model, ids, mask)
    return logits[:, form.item_base : form.item_base + form.items].float()

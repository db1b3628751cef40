"""A model, prompts and legal items in, completions out: masked decoding with the prompt run once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from recpolicy.trainer.answer import AnswerFormat, Place


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode, and afterwards in the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def left_pad(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids of unequal length as ids and mask, both [B, P] int64, padded on the left."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    return ids, mask


def positions(mask: Tensor) -> Tensor:
    """Position ids for left-padded rows, [B, T] from 0 at the first real token."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def run_prompts(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, DynamicCache]:
    """Logits after each prompt, [B, V], and the key/value cache of the prompts."""
    out = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=True, logits_to_keep=1)
    return out.logits[:, -1], out.past_key_values


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    form: AnswerFormat,
    prompts: list[list[int]],
    legal: Tensor,
    *,
    copies: int = 1,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Completions under the mask of `form`, [B * copies, T] ids padded on the right; copies of a prompt are adjacent.

    `legal` [B, items] bool says which items each prompt's slate may hold. `temperature` None is greedy decoding.
    """
    device = legal.device
    ids, mask = (t.to(device) for t in left_pad(prompts, form.pad))
    logits, cache = run_prompts(model, ids, mask)
    if copies > 1:
        cache.batch_repeat_interleave(copies)
        logits, mask, legal = (t.repeat_interleave(copies, 0) for t in (logits, mask, legal))
    batch, vocabulary = logits.shape
    table = form.tokens(vocabulary, device)
    items = slice(form.item_base, form.item_base + form.items)
    left = legal.clone()  # [B, items]
    words = torch.zeros(batch, dtype=torch.long, device=device)
    taken = torch.zeros_like(words)
    place = torch.full_like(words, int(form.first()))
    completion = []
    while True:
        allowed = table[place]
        allowed[:, items] &= left
        scores = logits.float().masked_fill(~allowed, -torch.inf)
        if temperature is None:
            token = scores.argmax(-1)
        else:
            token = torch.multinomial((scores / temperature).softmax(-1), 1, generator=generator)[:, 0]
        completion.append(token)
        item = form.is_item(token)
        left[item, token[item] - form.item_base] = False
        words += form.is_word(token)
        taken += item
        place = form.places(token, words, taken, left.any(-1))
        if bool((place == Place.NOTHING).all()):
            return torch.stack(completion, 1)
        mask = torch.cat([mask, torch.ones(batch, 1, dtype=mask.dtype, device=device)], 1)
        if bool((place >= Place.END).all()):  # the end is forced: no need to ask the model
            completion.append(torch.where(place == Place.END, form.end, form.pad))
            return torch.stack(completion, 1)
        out = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=positions(mask)[:, -1:],
            past_key_values=cache,
            use_cache=True,
        )
        logits = out.logits[:, -1]


@torch.no_grad()
def first_items(model: PreTrainedModel, form: AnswerFormat, prompts: list[list[int]], legal: Tensor) -> Tensor:
    """Log-probabilities of the items at the slate's first place after greedy reasoning, [B, items]; -inf if illegal."""
    reasoned = decode(model, replace(form, slate=1), prompts, legal)
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

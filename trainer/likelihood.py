"""Completions and what a model says before each of their tokens in, log-probabilities and entropies out.

Under the mask and temperature they were sampled with: words among words, items among those that were open. At all
other places the form allows one token, which is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from recpolicy.trainer.answer import AnswerFormat

Read: TypeAlias = Callable[[Tensor, Tensor, slice], Tensor]
"""Rows [N], tokens [N] of a batch of completions and a range of the vocabulary to the logits there, [N, range]."""

LEAST = torch.finfo(torch.float32).min
"""In the place of the logit of what is not allowed; unlike an infinite one, times probability 0 it is 0."""


def log_probabilities(
    read: Read,
    form: AnswerFormat,
    completion: Tensor,
    opened: Tensor,
    temperature: float,
    prior: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy (no gradient) of each token of completions [B, T] padded on the right, both [B, T].

    `opened` [B, K, items] bool: what a `Shelf` held open at each place. `prior` [B, items]: its prior.
    """
    row, at, rank = form.chosen_items(completion)
    items = form.item_columns
    logits = read(row, at, items)
    if prior is not None:
        logits = logits + prior[row]
    item = _choice(logits, opened[row, rank], completion[row, at] - form.item_base, temperature)
    word_row, word_at = form.chosen_words(completion)
    words = read(word_row, word_at, form.word_columns)
    word = _choice(words, form.reasoning.to(words.device), completion[word_row, word_at], temperature)
    places = torch.cat([row, word_row]), torch.cat([at, word_at])
    certain = torch.zeros(completion.shape, device=completion.device)
    chosen, entropy = (certain.index_put(places, torch.cat(both)) for both in zip(item, word, strict=True))
    return chosen, entropy


def _choice(logits: Tensor, allowed: Tensor, token: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probability of `token` [N] among those `allowed` [N, C] or [C], and the entropy of the choice, both [N].

    The logits are [N, C]; the entropy has no gradient.
    """
    found: tuple[Tensor, Tensor] = _Choice.apply(logits, allowed, token, temperature)  # type: ignore[no-untyped-call]
    return found


class _Choice(torch.autograd.Function):
    """`_choice` with few passes over its logits, which are most of what scoring a batch has to touch."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, allowed: Tensor, token: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        scaled = logits.to(torch.float32, copy=True).div_(temperature)
        logp = scaled.masked_fill_(~allowed, LEAST).log_softmax(-1)
        probability = torch.exp(logp, out=scaled)
        entropy = -torch.linalg.vecdot(probability, logp)
        ctx.save_for_backward(probability, token)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        ctx.mark_non_differentiable(entropy)
        return logp.gather(1, token[:, None])[:, 0], entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """d log p(token) / d logit = ([it is the token] - p) / temperature."""
        probability, token = ctx.saved_tensors
        by = (gradients[0] / ctx.temperature)[:, None]
        return (probability * -by).scatter_add_(1, token[:, None], by).to(ctx.dtype), None, None, None

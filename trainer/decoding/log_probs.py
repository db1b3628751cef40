"""Completions and what a model says before each of their tokens in, log-probabilities of the tokens out.

Under the mask and temperature they were sampled with: words among words, items among those that were open. At all
other places the form allows one token, which is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from recpolicy.trainer.decoding.answer_format import AnswerFormat

Read: TypeAlias = Callable[[Tensor, Tensor, slice], Tensor]
"""Rows [N], tokens [N] of a batch of completions and a range of the vocabulary to the logits there, [N, range]."""

LEAST = torch.finfo(torch.float32).min
"""In the place of the logit of what is not allowed; unlike an infinite one, times probability 0 it is 0."""


def log_probabilities(
    read: Read,
    form: AnswerFormat,
    completion: Tensor,
    allowed: Tensor,
    temperature: float,
    prior: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability, entropy (no gradient) and divergence of each token of completions [B, T] padded on the right.

    All are [B, T]. `opened` [B, K, items] bool: what a `Shelf` held open at each place. `prior` [B, items]: its prior.
    The divergence is that of a choice from the prior's alone, sum p log (p / p0) over what is open; 0 for words and
    without a prior.
    """
    row, at, rank = form.chosen_items(completion)
    items, beside = form.item_columns, None
    if prior is not None:
        beside = prior[row], _normaliser(prior, allowed, temperature)[row, rank]
    item = _choice(read(row, at, items), allowed[row, rank], completion[row, at] - form.item_base, temperature, beside)
    word_row, word_at = form.chosen_words(completion)
    words = read(word_row, word_at, form.word_columns)
    word = _choice(words, form.reasoning.to(words.device), completion[word_row, word_at], temperature)
    places = torch.cat([row, word_row]), torch.cat([at, word_at])
    certain = torch.zeros(completion.shape, device=completion.device)
    chosen, entropy, divergence = (certain.index_put(places, torch.cat(both)) for both in zip(item, word, strict=True))
    return chosen, entropy, divergence


def _normaliser(prior: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """The logarithm of the sum of exp(prior / temperature) over what is open at each place, [B, K]."""
    scaled = prior.float() / temperature
    most = scaled.amax(1, keepdim=True)
    total = torch.bmm(allowed.float(), (scaled - most).exp_()[..., None])[..., 0]
    return total.clamp(min=torch.finfo(torch.float32).tiny).log() + most


def _choice(
    logits: Tensor, allowed: Tensor, token: Tensor, temperature: float, prior: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of `token` [N] among those `allowed` [N, C] or [C], entropy and divergence of the choice, [N].

    The logits [N, C] are a model's own, to which those of the `prior` [N, C] are added, which comes with its normaliser
    [N]. The entropy has no gradient.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Choice.apply(  # type: ignore[no-untyped-call]
        logits, allowed, token, temperature, *(prior or (None, None))
    )
    return found


class _Choice(torch.autograd.Function):
    """`_choice` with few passes over its logits, which are most of what scoring a batch has to touch."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        allowed: Tensor,
        token: Tensor,
        temperature: float,
        prior: Tensor | None,
        normaliser: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        scaled = logits.to(torch.float32, copy=True).div_(temperature)
        own = None if prior is None else scaled.clone()
        if prior is not None:
            scaled.add_(prior, alpha=1 / temperature)
        chosen = scaled.gather(1, token[:, None])[:, 0]
        logp = scaled.masked_fill_(~allowed, LEAST).log_softmax(-1)
        probability = torch.exp(logp, out=scaled)
        entropy = -torch.linalg.vecdot(probability, logp)
        found, divergence = logp.gather(1, token[:, None])[:, 0], torch.zeros_like(entropy)
        if own is not None:  # log p - log p0 = own - log sum exp(own + prior) + log sum exp(prior)
            mean = torch.linalg.vecdot(probability, own)
            divergence = mean - (chosen - found) + normaliser
            own.sub_(mean[:, None]).mul_(probability)
        ctx.save_for_backward(probability, token, own)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        ctx.mark_non_differentiable(entropy)
        return found, entropy, divergence

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """d log p(token) / d logit = ([it is the token] - p) / t, and of the divergence p (own - E own) / t."""
        probability, token, own = ctx.saved_tensors
        by = (gradients[0] / ctx.temperature)[:, None]
        found = (probability * -by).scatter_add_(1, token[:, None], by)
        if own is not None:
            found.addcmul_(own, (gradients[2] / ctx.temperature)[:, None])
        return found.to(ctx.dtype), None, None, None, None, None

"""Computes the log-probabilities of completions under the mask and temperature they were sampled with.

Words are chosen among words, items among the allowed items. At all other places the form allows one token, whose
probability is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from recpolicy.trainer.decoding.answer_format import AnswerFormat

Read: TypeAlias = Callable[[Tensor, Tensor, slice | Tensor], Tensor]
"""Returns logits [N, C] at rows [N] and columns [N] of a batch of completions, for a slice of the vocabulary.

Instead of a slice, [B, C] are the tokens of each row.
"""

LEAST = torch.finfo(torch.float32).min
"""Logit of what is not allowed. Unlike an infinite one, times probability 0 it is 0."""


def log_probabilities(
    read: Read,
    form: AnswerFormat,
    completion: Tensor,
    allowed: Tensor,
    temperature: float,
    prior: Tensor | None = None,
    candidates: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes log-probability, entropy (without gradient) and divergence of each token, three tensors [B, T].

    For a choice with logits z, prior b (0 for words) and temperature t among the allowed tokens:

        log p(i) = (z_i + b_i) / t - log sum over j of exp((z_j + b_j) / t)
        entropy = - sum p log p,  divergence = sum p log(p / p0),  where p0 is p for z = 0

    The divergence is 0 for words and without a prior; all three are 0 for forced tokens. Completions [B, T] are padded
    on the right; `allowed` [B, K, items] bool is that of `ItemMask.history`, `prior` [B, items] and `candidates` [B, C]
    those of the mask.
    """
    row, at, rank = form.chosen_items(completion)
    own_prior = None if prior is None else (prior[row], _normaliser(prior, allowed, temperature)[row, rank])
    token = completion[row, at] - form.item_base
    if candidates is None:
        logits = read(row, at, form.item_columns)
    else:
        logits = read(row, at, candidates + form.item_base)
        token = torch.searchsorted(candidates[row], token[:, None])[:, 0]
    item = _choice(logits, allowed[row, rank], token, temperature, own_prior)
    word_row, word_at = form.chosen_words(completion)
    words = read(word_row, word_at, form.word_columns)
    word = _choice(words, form.reasoning.to(words.device), completion[word_row, word_at], temperature)
    places = torch.cat([row, word_row]), torch.cat([at, word_at])
    certain = torch.zeros(completion.shape, device=completion.device)
    chosen, entropy, divergence = (certain.index_put(places, torch.cat(both)) for both in zip(item, word, strict=True))
    return chosen, entropy, divergence


def _normaliser(prior: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Computes the logarithm of the sum of exp(prior / temperature) over the allowed items of each place, [B, K]."""
    scaled = prior.float() / temperature
    most = scaled.amax(1, keepdim=True)
    total = torch.bmm(allowed.float(), (scaled - most).exp_()[..., None])[..., 0]
    return total.clamp(min=torch.finfo(torch.float32).tiny).log() + most


def _choice(
    logits: Tensor, allowed: Tensor, token: Tensor, temperature: float, prior: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the log-probability of `token` [N] among those `allowed` [N, C] or [C], entropy and divergence, [N].

    The logits [N, C] are the model's own. The `prior` comes as logits [N, C], to be added to them, and normaliser [N].
    """
    values: tuple[Tensor, Tensor, Tensor] = _Choice.apply(  # type: ignore[no-untyped-call]
        logits, allowed, token, temperature, *(prior or (None, None))
    )
    return values


class _Choice(torch.autograd.Function):
    """`_choice` with few passes over its logits, which are most of what scoring a batch reads from memory."""

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
        """Computes log-probability, entropy and divergence, and saves the probabilities for the gradient."""
        scaled = logits.to(torch.float32, copy=True).div_(temperature)
        own = None if prior is None else scaled.clone()
        if prior is not None:
            scaled.add_(prior, alpha=1 / temperature)
        chosen = scaled.gather(1, token[:, None])[:, 0]
        logp = scaled.masked_fill_(~allowed, LEAST).log_softmax(-1)
        probability = torch.exp(logp, out=scaled)
        entropy = -torch.linalg.vecdot(probability, logp)
        chosen_logp, divergence = logp.gather(1, token[:, None])[:, 0], torch.zeros_like(entropy)
        if own is not None:  # log p - log p0 = own - log sum exp(own + prior) + log sum exp(prior)
            mean = torch.linalg.vecdot(probability, own)
            divergence = mean - (chosen - chosen_logp) + normaliser
            own.sub_(mean[:, None]).mul_(probability)
        ctx.save_for_backward(probability, token, own)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        ctx.mark_non_differentiable(entropy)
        return chosen_logp, entropy, divergence

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Computes d log p(i) / d z_j = ([i = j] - p_j) / t and d divergence / d z_j = p_j (z_j - E z) / t^2."""
        probability, token, own = ctx.saved_tensors
        by = (gradients[0] / ctx.temperature)[:, None]
        gradient = (probability * -by).scatter_add_(1, token[:, None], by)
        if own is not None:
            gradient.addcmul_(own, (gradients[2] / ctx.temperature)[:, None])
        return gradient.to(ctx.dtype), None, None, None, None, None

"""Completions and what a model says before each of their tokens in, log-probabilities and entropies out.

Under the mask and temperature they were sampled with: words among words, items among those that were open. At all
other places the form allows one token, which is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from recpolicy.trainer.answer import AnswerFormat

Read: TypeAlias = Callable[[Tensor, Tensor, slice], Tensor]
"""Rows [N], tokens [N] of a batch of completions and a range of the vocabulary to the logits there, [N, range]."""


def log_probabilities(
    read: Read, form: AnswerFormat, completion: Tensor, opened: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy (no gradient) of each token of completions [B, T] padded on the right, both [B, T].

    `opened` [B, K, items] bool: what a `Shelf` held open at each place.
    """
    row, at, rank = form.chosen_items(completion)
    items = read(row, at, slice(form.item_base, form.item_base + form.items))
    word_row, word_at = form.chosen_words(completion)
    words = read(word_row, word_at, slice(0, form.item_base))
    row, at = torch.cat([row, word_row]), torch.cat([at, word_at])
    chosen, entropy = zip(
        _chosen(items, opened[row[: len(rank)], rank], completion[row, at][: len(rank)] - form.item_base, temperature),
        _chosen(words, form.reasoning.to(words.device), completion[word_row, word_at], temperature),
        strict=True,
    )
    certain = torch.zeros(completion.shape, device=completion.device)
    return (
        certain.index_put((row, at), torch.cat(chosen)),
        certain.index_put((row, at), torch.cat(entropy)),
    )


def _chosen(logits: Tensor, allowed: Tensor, token: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probability of `token` [N] among those `allowed`, and the entropy of the choice, both [N]."""
    logp = (logits.float() / temperature).masked_fill(~allowed, -torch.inf).log_softmax(-1)
    with torch.no_grad():
        surprise = logp.detach().masked_fill(~allowed, 0.0)
        entropy = -(surprise.exp() * surprise).masked_fill(~allowed, 0.0).sum(-1)
    return logp.gather(-1, token[:, None])[:, 0], entropy

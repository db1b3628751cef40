"""Carries trained weights over to a recommender with other tokens: the vectors of a token go with its text."""

from __future__ import annotations

import torch
from peft.tuners.trainable_tokens import TrainableTokensLayer
from torch import Tensor

from recpolicy.trainer.models.pretrained import tables
from recpolicy.trainer.models.recommenders import Recommender


@torch.no_grad()
def carry_over(earlier: Recommender, into: Recommender) -> None:
    """Sets the trained weights of a recommender to those of an earlier one with the same layers.

    The vectors of tokens that the earlier one does not have stay as they are.
    """
    tokens = {id(table) for table, _ in _token_tables(into)}
    weights = dict(earlier.trained.named_parameters())
    for name, weight in into.trained.named_parameters():
        if weight.requires_grad and id(weight) not in tokens:
            weight.copy_(weights[name])
    carry_tokens_over(earlier, into)


@torch.no_grad()
def carry_tokens_over(earlier: Recommender, into: Recommender) -> None:
    """Sets the vectors of the tokens that both have to those of the earlier recommender."""
    for (table, rows), (known, places) in zip(_token_tables(into), _token_tables(earlier), strict=True):
        both = sorted(rows.keys() & places.keys())
        table[[rows[text] for text in both]] = known[[places[text] for text in both]].to(table)


def _token_tables(recommender: Recommender) -> list[tuple[Tensor, dict[str, int]]]:
    """The tables of token vectors that are trained, with the row of each token by its text: input first, then head."""
    vocabulary = recommender.tokenizer.get_vocab()
    if recommender.adapters is None:
        return [(table.weight, vocabulary) for table in tables(recommender.model)]
    text = {number: token for token, number in vocabulary.items()}
    found: dict[int, tuple[Tensor, dict[str, int]]] = {}
    for layer in recommender.adapters.modules():
        if isinstance(layer, TrainableTokensLayer):
            for adapter, vectors in layer.trainable_tokens_delta.items():
                rows = {text[number]: row for row, number in enumerate(layer.token_indices[adapter])}
                found[id(vectors)] = vectors, rows  # a tied head has the same vectors
    return list(found.values())

"""A small recommender with random weights over an invented catalog."""

from __future__ import annotations

import pytest
import torch

from recpolicy.dataset.slates import item_token
from recpolicy.trainer.config import Tiny
from recpolicy.trainer.models import recommenders, tiny
from recpolicy.trainer.models.recommenders import Recommender

ITEMS, SLATE, THINK = 12, 4, 3


@pytest.fixture(scope="session")
def recommender() -> Recommender:
    tokenizer = tiny.tokenizer(["history recommend likes drama comedy war"], ITEMS)
    form = recommenders.answer_format(tokenizer, ITEMS, SLATE, THINK)
    model = tiny.decoder(Tiny(width=16, layers=2, heads=2), tokenizer, 64, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():  # wider than a fresh start: choices are then far from ties
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    return Recommender(model.eval(), tokenizer, form)


@pytest.fixture(scope="session")
def prompts(recommender: Recommender) -> list[list[int]]:
    """Prompts of unequal length, two of them alike."""
    told = [[0, 1, 2, 3, 4], [5], [6, 7], [5]]
    return recommender.encode(["likes drama history " + " ".join(map(item_token, t)) + " recommend" for t in told])

"""Checks that the untrained tiny model follows the history."""

from __future__ import annotations

import torch

from recpolicy.dataset.slates import item_token
from recpolicy.trainer.config import Tiny
from recpolicy.trainer.decoding.rollout import first_items
from recpolicy.trainer.models import recommenders, tiny

ITEMS, TASTES, WIDTH = 40, 4, 32


def test_untrained_model_prefers_items_like_history() -> None:
    texts = [f"taken {' '.join(map(item_token, range(taste, 24, TASTES)))} next" for taste in range(TASTES)]
    tokenizer = tiny.tokenizer(texts, ITEMS)
    form = recommenders.answer_format(tokenizer, ITEMS, 5, 0)
    settings = Tiny(width=WIDTH, layers=2, heads=2, dropout=0.0)
    known = torch.nn.functional.one_hot(torch.arange(ITEMS) % TASTES, WIDTH).float()
    known += 0.5 * torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(1)) / WIDTH**0.5
    new = torch.arange(24, ITEMS)
    right = []
    for seed in range(5):
        model = tiny.decoder(settings, tokenizer, 40, seed)
        tiny.start_items(model, form, known)
        prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
        legal = torch.zeros(TASTES, ITEMS, dtype=torch.bool)
        legal[:, new] = True
        ranked = first_items(model.eval(), form, prompts, legal)[:, new].argsort(1, descending=True)
        similar = new[ranked[:, :4]] % TASTES == torch.arange(TASTES)[:, None]
        right.append(similar.float().mean().item())
    assert min(right) > 0.7, "a quarter would be chance"

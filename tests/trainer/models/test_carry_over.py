"""Checks that carried weights compute the same for every token that both recommenders have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from recpolicy.dataset.slates import item_token
from recpolicy.trainer.coldstart.new_items import merged
from recpolicy.trainer.config import Llm, Tiny
from recpolicy.trainer.decoding.prefix_sharing import unwrapped
from recpolicy.trainer.models import pretrained, recommenders, tiny
from recpolicy.trainer.models.carry_over import carry_over, carry_tokens_over
from recpolicy.trainer.models.recommenders import Recommender
from tests.trainer.models.test_pretrained import CONFIGS, write_model
from tests.trainer.small import widened

TEXT = f"likes war {item_token(1)} {item_token(3)}"


def adapted(folder: Path, items: int, rank: int) -> Recommender:
    """A pretrained model with so many items, its trained weights as if they had been trained."""
    tokenizer = pretrained.tokenizer(str(folder), items)
    about, settings = [f"war {i}" for i in range(items)], Llm(lora_rank=rank, precision="float32")
    model = pretrained.decoder(
        str(folder), tokenizer, about, lambda width: torch.randn(items, width), 64, settings, seed=items
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) / 10)
    form = recommenders.answer_format(tokenizer, items, 3, 0)
    return Recommender(unwrapped(model).eval(), tokenizer, form, model if isinstance(model, PeftModel) else None)


def small(words: str, items: int) -> Recommender:
    tokenizer = tiny.tokenizer([words], items)
    model = widened(tiny.decoder(Tiny(width=16), tokenizer, 64, seed=items))
    return Recommender(model.eval(), tokenizer, recommenders.answer_format(tokenizer, items, 3, 0))


def logits(recommender: Recommender, tokens: list[str]) -> Tensor:
    """Behind TEXT, of these tokens."""
    columns = recommender.tokenizer.convert_tokens_to_ids(tokens)
    with torch.no_grad():
        found: Tensor = recommender.model(torch.tensor(recommender.encode([TEXT]))).logits
    return found[0, -1, columns]


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("config", CONFIGS)
def test_pretrained_model_computes_the_same_with_more_items(tmp_path: Path, config: str, rank: int) -> None:
    folder = write_model(tmp_path / "lm", CONFIGS[config])
    earlier, into = adapted(folder, 5, rank), adapted(folder, 7, rank)
    known, new = sorted(earlier.tokenizer.get_vocab()), [item_token(5), item_token(6)]
    before, own = logits(into, known), logits(into, new)
    carry_over(earlier, into)
    torch.testing.assert_close(logits(into, known), logits(earlier, known), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before, logits(earlier, known), atol=1e-2)
    assert not torch.equal(own, logits(into, new)), "they keep their vectors, and the layers before are others"


def test_small_model_matches_words_by_text() -> None:
    earlier, into = small("likes war drama", 5), small("zebra likes aunt war", 6)
    shared = ["likes", "war", "<answer>", *map(item_token, range(5))]
    own = pretrained.tables(into.model)[0].weight[into.tokenizer.convert_tokens_to_ids(["zebra", "aunt"])].clone()
    carry_over(earlier, into)
    torch.testing.assert_close(logits(into, shared), logits(earlier, shared), atol=1e-5, rtol=1e-5)
    kept = pretrained.tables(into.model)[0].weight[into.tokenizer.convert_tokens_to_ids(["zebra", "aunt"])]
    assert torch.equal(kept, own)


def test_vectors_of_new_items_come_from_merged_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "lm", CONFIGS["own head, spare rows"])
    extended, into = merged(adapted(folder, 7, 4)), adapted(folder, 7, 4)
    tables = [table.weight.detach().clone() for table in pretrained.tables(extended.model)]
    carry_tokens_over(extended, into)
    for table, vectors in zip(pretrained.tables(merged(into).model), tables, strict=True):
        columns = extended.form.item_columns
        torch.testing.assert_close(table.weight[columns].float(), vectors[columns].float())

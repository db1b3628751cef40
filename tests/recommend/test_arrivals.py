"""Checks a model that is extended by new items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recpolicy.data import Aligned
from recpolicy.dataset.slates import item_token
from recpolicy.trainer.coldstart import attribute_embeddings, new_items
from recpolicy.trainer.config import Llm, Prompt
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import first_items
from recpolicy.trainer.models import item_attributes, recommenders
from recpolicy.trainer.models.pretrained import tables
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import Prompter
from tests.recommend.beginners import begun, language_model


@pytest.mark.parametrize(("kind", "rank"), [("tiny", 0), ("pretrained", 0), ("pretrained", 2)])
def test_new_items_are_added_and_trained_items_stay_unchanged(
    home: Path, catalog: Aligned, kind: str, rank: int, tmp_path: Path
) -> None:
    settings = Llm(lora_rank=rank, precision="float32")
    name = recommenders.TINY if kind == "tiny" else str(language_model(tmp_path / "lm"))
    recommender = begun(home, name, settings)
    with torch.no_grad():
        for parameter in recommender.trained.parameters():  # as if it had been trained: adapters begin as nothing
            if parameter.requires_grad and parameter.ndim > 1:
                parameter.add_((0.2 * parameter.std() + 0.002) * torch.randn_like(parameter))
    items = catalog.dataset.items.rows
    told = " ".join(map(item_token, (3, 60, 7)))

    def first(to: Recommender) -> torch.Tensor:
        with evaluating(to.model):
            legal = torch.ones(1, to.form.items, dtype=torch.bool)
            return first_items(to.model, to.form, to.encode([f"history {told}"]), legal)[0]

    probabilities = first(recommender)
    events = np.full(catalog.earlier, 10)
    learned = new_items.learned_from(catalog, events)
    facts = item_attributes.attributes(catalog.dataset, learned)
    recommender = new_items.merged(recommender)
    prompter = Prompter(catalog.dataset, Prompt(think=2, history=6), 3, recommenders.prompt_style(name))
    examples = attribute_embeddings.cold_start_examples(recommender, prompter, catalog, learned, 1_707_000_000, None, 0)
    wider = new_items.extended(recommender, catalog, learned, facts, examples)
    form, tokenizer = wider.form, wider.tokenizer
    assert (form.item_base, form.items, items) == (recommender.form.item_base, items, catalog.earlier + 8)
    now = first(wider)[: catalog.earlier]
    torch.testing.assert_close(now.log_softmax(-1), probabilities)  # among themselves trained items stand as before
    [ids] = wider.encode([f"{item_token(items - 1)} {item_token(catalog.earlier)}"])
    assert ids[0] == form.item_base + items - 1 and ids[-1] == form.item_base + catalog.earlier
    assert not {item_token(row) for row in range(items)} & set(tokenizer.all_special_tokens)
    assert item_token(items - 1) in tokenizer.decode(ids, skip_special_tokens=True)
    *read, head = (table.weight.detach() for table in tables(wider.model))
    assert len(head) >= len(tokenizer)
    made = examples.embeddings(facts).of(facts.of(catalog.arrived))
    np.testing.assert_allclose(head[form.item_base :][catalog.earlier : items], made, rtol=1e-5, atol=1e-6)
    for table in read:
        rows = table[form.item_base : form.item_base + items]
        chess, jazz = rows[:30].mean(0), rows[30:60].mean(0)
        for at, (own, other) in ((0, (chess, jazz)), (4, (jazz, chess))):  # four new posts of each kind
            new = rows[catalog.earlier + at : catalog.earlier + at + 4]
            assert (torch.cosine_similarity(new, own, 1) > torch.cosine_similarity(new, other, 1) + 0.5).all()
        lengths = rows.norm(dim=1)
        typical = lengths[torch.from_numpy(learned)].quantile(0.5).expand(8)
        torch.testing.assert_close(lengths[catalog.earlier :], typical)
    wider.save(tmp_path / "saved")
    again = recommenders.load(tmp_path / "saved", name, items, form.slate, form.max_think, settings)
    torch.testing.assert_close(first(again), first(wider))


def test_learned_items_are_frequent_and_still_in_catalog(catalog: Aligned) -> None:
    events = np.zeros(catalog.earlier, np.int64)
    events[[2, 3, 60]] = 5
    assert new_items.learned_from(catalog, events).tolist() == [2, 3], "item 60 has left the catalog"
    events[2] = 4
    assert len(new_items.learned_from(catalog, events)) == catalog.earlier - 1, "one is too few: all are taken"

"""Embeddings of new items from their attributes, and a model that takes them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recpolicy import data
from recpolicy.data import Aligned
from recpolicy.slate import item_token
from recpolicy.table import Floats, Ints
from recpolicy.trainer import arrivals, models
from recpolicy.trainer.arrivals import Attributes
from recpolicy.trainer.config import Config, Llm, Prompt, Tiny
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.prefix import evaluating
from recpolicy.trainer.pretrained import tables
from recpolicy.trainer.rollout import first_items
from tests.recommend.platform import before, later, write


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("data")
    write(home / "before", before())
    write(home / "later", later())
    return home


@pytest.fixture(scope="module")
def catalog(home: Path) -> Aligned:
    return data.aligned(data.open(home / "later"), data.open(home / "before").item_ids)


def language_model(folder: Path) -> Path:
    """A byte-level model with random weights, a head of its own and some rows to spare."""
    alphabet = sorted(ByteLevel.alphabet())
    core = Tokenizer(BPE({text: i for i, text in enumerate(["</s>", *alphabet])}, []))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(2)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=260, tie_word_embeddings=False)).save_pretrained(folder)
    return folder


def begun(home: Path, model: str, settings: Llm) -> Recommender:
    """A recommender over the earlier items, before training."""
    dataset = data.open(home / "before")
    config = Config(prompt=Prompt(think=2), tiny=Tiny(width=16, layers=1), llm=settings)
    texts = ["history likes jazz chess <think> likes jazz </think>"]
    about = [f"a post {row}" for row in range(dataset.items.rows)]
    parts = data.split(dataset, holdout=2)
    return models.begun(model, config, dataset, parts, 3, texts=texts, shown=texts, about=about)


@pytest.mark.parametrize(("kind", "rank"), [("tiny", 0), ("pretrained", 0), ("pretrained", 2)])
def test_trained_items_stay_as_they_are_and_new_ones_are_taken_in(
    home: Path, catalog: Aligned, kind: str, rank: int, tmp_path: Path
) -> None:
    settings = Llm(rank=rank, precision="float32")
    name = models.TINY if kind == "tiny" else str(language_model(tmp_path / "lm"))
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
    learned = arrivals.learned_from(catalog, events)
    facts = arrivals.attributes(catalog.dataset, learned)
    wider = arrivals.extended(recommender, catalog, learned, facts)
    form, tokenizer = wider.form, wider.tokenizer
    assert (form.item_base, form.items, items) == (recommender.form.item_base, items, catalog.earlier + 8)
    now = first(wider)[: catalog.earlier]
    torch.testing.assert_close(now.log_softmax(-1), probabilities)  # among themselves trained items stand as before
    [ids] = wider.encode([f"{item_token(items - 1)} {item_token(catalog.earlier)}"])
    assert ids[0] == form.item_base + items - 1 and ids[-1] == form.item_base + catalog.earlier
    assert not {item_token(row) for row in range(items)} & set(tokenizer.all_special_tokens)
    assert item_token(items - 1) in tokenizer.decode(ids, skip_special_tokens=True)
    for table in (table.weight for table in tables(wider.model)):
        assert len(table) >= len(tokenizer)
        rows = table[form.item_base : form.item_base + items].detach()
        chess, jazz = rows[:30].mean(0), rows[30:60].mean(0)
        for at, (own, other) in ((0, (chess, jazz)), (4, (jazz, chess))):  # four new posts of each kind
            new = rows[catalog.earlier + at : catalog.earlier + at + 4]
            assert (torch.cosine_similarity(new, own, 1) > torch.cosine_similarity(new, other, 1) + 0.5).all()
        lengths = rows.norm(dim=1)
        typical = lengths[torch.from_numpy(learned)].quantile(0.5).expand(8)
        torch.testing.assert_close(lengths[catalog.earlier :], typical)
    wider.save(tmp_path / "saved")
    again = models.load(tmp_path / "saved", name, items, form.slate, form.max_think, settings)
    torch.testing.assert_close(first(again), first(wider))


def test_items_are_learned_from_where_they_are_known_and_still_there(catalog: Aligned) -> None:
    events = np.zeros(catalog.earlier, np.int64)
    events[[2, 3, 60]] = 5
    assert arrivals.learned_from(catalog, events).tolist() == [2, 3], "item 60 has left the catalog"
    events[2] = 4
    assert len(arrivals.learned_from(catalog, events)) == catalog.earlier - 1, "one is too few: all are taken"


def test_the_penalty_has_the_least_leave_one_out_errors() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((30, 12)) < 0.4).astype(np.float64)
    targets = x @ rng.normal(size=(12, 3)) + rng.normal(scale=2.0, size=(30, 3))
    facts, rows = sparse(np.vstack([x, rng.random((5, 12))])), np.arange(30)

    def solved(x: Floats, y: Floats, penalty: float, at: Floats) -> Floats:
        centred = x - x.mean(0)
        slopes = np.linalg.solve(centred.T @ centred + penalty * np.eye(12), centred.T @ (y - y.mean(0)))
        return np.asarray(y.mean(0) + (at - x.mean(0)) @ slopes, np.float64)

    def errors(penalty: float) -> float:
        left = [solved(np.delete(x, i, 0), np.delete(targets, i, 0), penalty, x[i]) - targets[i] for i in range(30)]
        return float((np.array(left) ** 2).sum())

    best = min(arrivals.PENALTIES, key=errors)
    assert min(arrivals.PENALTIES) < best < max(arrivals.PENALTIES)
    found = arrivals.fit(facts, rows, targets)
    np.testing.assert_allclose(
        found.of(facts.of(np.arange(30, 35))), solved(x, targets, best, facts.of(np.arange(30, 35)))
    )


def sparse(x: Floats) -> Attributes:
    item, feature = np.nonzero(x)
    return Attributes(item, feature, x[item, feature], *x.shape)


def test_attributes_are_words_topics_truths_and_curves_of_numbers(catalog: Aligned) -> None:
    learned = np.arange(60)
    facts = arrivals.attributes(catalog.dataset, learned)
    same = facts.of(np.array([1, catalog.earlier + 1, 60, 2]))  # c1, its copy, what has left, another
    np.testing.assert_array_equal(same[0], same[1])
    assert not same[2].any() and (same[3] != same[0]).any()
    # the title's three words, topic, creator and `free` are 1 each, and so are rating, published and creator_since
    assert same[0].sum() == pytest.approx(3 + 1 + 1 + 1 + 3) and facts.width <= arrivals.WIDTH


def test_the_most_alike_are_named_first_and_what_shares_nothing_is_not() -> None:
    #          a rare topic, a frequent one, another
    x = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], np.float64)
    learned: Ints = np.arange(5)
    [like] = arrivals.alike(sparse(x), learned, np.array([5]), 4)
    assert like.tolist() == [0, 1, 2, 3], "the rare topic counts for more, and item 4 shares none"
    assert [len(of) for of in arrivals.alike(sparse(x), learned, np.array([5, 4]), 2)] == [2, 1]

"""Distillation: lessons are the teacher's slates under the policy, and the loss asks for nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from recpolicy import baselines, checker, data
from recpolicy.baselines import Baseline
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset import Dataset, Split
from recpolicy.rerank import choices, rerank
from recpolicy.slate import unseen
from recpolicy.table import WordColumn
from recpolicy.trainer import distil, models, tiny
from recpolicy.trainer.config import Prompt, Tiny
from recpolicy.trainer.control import Reranking
from recpolicy.trainer.distil import DistilTrainer, Lessons, Teacher
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.prompts import Prompter

POLICY = """
policy "adult" { language = 1  data = "simulator"  slate = 4 }
reward relevance weight 1 = ndcg(next_items)
quota  one_voice weight 0.5 = at most 1 per item.creator
block  reported = item.report_rate > 10%
"""


@dataclass(frozen=True)
class School:
    """A small data set with a policy, a recommender of random weights, and what both are taught from."""

    view: Dataset
    split: Split
    compiled: CompiledPolicy
    prompter: Prompter
    recommender: Recommender
    ease: Baseline

    def lessons(self, mu: float, share: float = 0.5) -> Lessons:
        rows = distil.lesson_rows(distil.endings(self.view, self.split), 40, 0.5, 0)
        reranking = Reranking(self.compiled, mu)
        return Lessons(Teacher(self.recommender, self.ease, share), reranking, self.prompter, rows, 0.05)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    path = tmp_path_factory.mktemp("school") / "adult.policy"
    path.write_text(POLICY)
    loaded = checker.read(str(path))
    dataset = data.open("simulator", loaded.schema)
    split = data.split(dataset)
    view = data.training_view(dataset, split)
    prompter = Prompter(view, Prompt(think=6), 4)
    items = view.items.rows
    texts = prompter.prompts(split.test) + prompter.completions(split.test)
    tokenizer = tiny.tokenizer(texts, items)
    form = models.answer_format(tokenizer, items, 4, 6)
    model = tiny.decoder(Tiny(width=16, layers=1, heads=2, dropout=0.0), tokenizer, 160, seed=1)
    recommender = Recommender(model, tokenizer, form)
    ease = baselines.fit(view, split, 4)["ease_recency"]
    return School(view, split, compile(loaded.policy, view), prompter, recommender, ease)


def batch(lessons: Lessons) -> dict[str, torch.Tensor]:
    return lessons([{"row": row} for row in range(8)])


def test_a_lesson_holds_the_slate_that_the_teacher_would_ship(school: School) -> None:
    for mu in (0.0, 1.0):
        lessons = school.lessons(mu)
        told = batch(lessons)
        form, rows = school.recommender.form, lessons.rows.take(np.arange(8))
        prompts = school.recommender.encode(school.prompter.prompts(rows))
        legal = school.compiled.servable(rows)
        found = distil.likeliest(lessons.teacher.scores(rows, prompts, legal))
        expected = rerank(*found, rows, school.compiled, mu).items
        length = told["words"].shape[1]
        slates = form.slates(told["input_ids"][:, -length:] * (told["places"] >= 0))
        assert (slates.numpy() == expected).all() and (expected >= 0).all()
        assert not school.compiled.blocked(rows, rerank(*found, rows, school.compiled, mu)).any()
        best = told["candidates"].gather(1, told["wanted"].argmax(-1))
        assert (best.numpy() == expected).all()
        assert told["wanted"].sum(-1).numpy() == pytest.approx(np.ones((8, 4)), abs=1e-5)


def test_the_policy_moves_the_lesson(school: School) -> None:
    creators = school.view.items.columns["creator"]
    assert isinstance(creators, WordColumn)
    plain, strict = (batch(school.lessons(mu)) for mu in (0.0, 4.0))
    assert not torch.equal(plain["input_ids"], strict["input_ids"])
    for row in range(8):
        items = strict["input_ids"][row][-strict["words"].shape[1] :][strict["places"][row] >= 0]
        voices = creators.values[(items - school.recommender.form.item_base).numpy()]
        assert len(set(voices)) == 4


def test_what_comes_next_is_in_no_lesson(school: School) -> None:
    rows = school.lessons(0.0).rows
    end = school.split.train_end[rows.user]
    for i in range(len(rows)):
        training = school.view.item[school.view.start[rows.user[i]] : end[i]]
        assert set(rows.history.row(i)) <= set(training) and rows.history.row(i)[-1] == training[-1]


def test_the_teacher_takes_the_share_that_ranks_validation_best(school: School) -> None:
    rows = school.split.validation
    prompts = school.recommender.encode(school.prompter.prompts(rows))
    legal = unseen(rows, school.recommender.form.items)
    assert Teacher(school.recommender, school.ease).tuned(rows, prompts, legal, 4).share > 0  # the model knows nothing


def loss_of(school: School, inputs: dict[str, torch.Tensor], folder: Any) -> torch.Tensor:
    settings = TrainingArguments(str(folder), report_to=[], use_cpu=True)
    trainer = DistilTrainer(school.recommender, school.lessons(0.0), args=settings)
    return trainer.compute_loss(school.recommender.model, inputs)


def test_the_loss_is_the_cross_entropy_written_out(school: School, tmp_path: Any) -> None:
    inputs = batch(school.lessons(1.0))
    model, form = school.recommender.model, school.recommender.form
    length = inputs["words"].shape[1]
    words, items = [], []
    with torch.no_grad():
        found = float(loss_of(school, inputs, tmp_path))
        for row in range(8):
            real = inputs["attention_mask"][row].bool()
            logits = model(input_ids=inputs["input_ids"][row][real][None]).logits[0]
            start = int(real.sum()) - length
            left = inputs["legal"][row].clone()
            for at in range(length):
                before = logits[start + at - 1]
                label, place = int(inputs["words"][row, at]), int(inputs["places"][row, at])
                if label >= 0:
                    words.append(-before.log_softmax(-1)[label])
                if place >= 0:
                    logp = before[form.item_base : form.item_base + form.items].masked_fill(~left, -torch.inf)
                    logp = logp.log_softmax(-1)
                    for candidate, wanted in zip(inputs["candidates"][row], inputs["wanted"][row, place], strict=True):
                        if wanted > 0:
                            items.append(-float(wanted) * logp[candidate])
                    left[inputs["input_ids"][row, -length + at] - form.item_base] = False
    expected = float(torch.stack(words).mean() + torch.stack(items).sum() / 32)
    assert found == pytest.approx(expected, rel=1e-4)


def test_learning_a_lesson_lowers_the_loss(school: School, tmp_path: Any) -> None:
    inputs = batch(school.lessons(0.0))
    optimizer = torch.optim.AdamW(school.recommender.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(school, inputs, tmp_path)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.3


def test_choices_are_those_of_rerank(school: School) -> None:
    rows = school.split.test.take(np.arange(20))
    scores = school.ease.scores(rows)
    items, likely = distil.likeliest(np.where(unseen(rows, scores.shape[1]), scores, np.float32(-np.inf)))
    found = choices(items, likely, rows, school.compiled, 0.5)
    assert (found.slates == rerank(items, likely, rows, school.compiled, 0.5).items).all()
    chosen = np.take_along_axis(items, found.scores.argmax(2), 1)
    assert (chosen == found.slates)[np.isfinite(found.scores).any(2)].all()

"""Checks the user model of a run: chances, prior and contexts, without held-out events."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy import data
from recpolicy.dataset.slates import item_token, unseen
from recpolicy.language import checker
from recpolicy.trainer import config, pipeline, run_stages
from recpolicy.trainer.config import Grpo, Tiny
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models import recommenders, tiny, user_model
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.models.user_model import LANGUAGE_MODEL, LEAST, RESIDUAL, UserModel
from recpolicy.trainer.prompting.contexts import endings
from recpolicy.trainer.run_context import RunContext
from recpolicy.trainer.stages import sft
from recpolicy.user_model import blend, linear_recommenders

K = 4
POLICY = (
    f'policy "made" {{ language = 1  data = "simulator"  slate = {K} }}\n'
    "reward relevance weight 1 = ndcg(next_items)\nblock reported = item.report_rate > 3%\n"
)


@dataclass(frozen=True)
class Scene:
    """A run's material, a model of random weights, and the user model fitted with it."""

    context: RunContext
    recommender: Recommender
    users: UserModel

    def asked(self, labels: Literal["expected", "real"], steps: int = 50) -> RunContext:
        """The material with other settings of GRPO."""
        changed = self.context.config.model_copy(update={"grpo": Grpo(steps=steps, prompts_per_step=8, labels=labels)})
        context = replace(self.context, config=changed)
        context.__dict__["classics"] = self.context.classics  # fitted before
        return context


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("scene") / "made.policy"
    path.write_text(POLICY)
    asked = config.load(None, {"holdout": 3, "prompt.history": 15, "validation_users": 60})
    context = pipeline.prepare(checker.read(str(path)), "simulator", "tiny", asked)
    prompter, items = context.prompter, context.view.items.rows
    rows = sft.training_rows(context.view, context.split, K, 100, 0)
    tokenizer = tiny.tokenizer(prompter.prompts(rows) + prompter.completions(rows), items)
    model = tiny.decoder(Tiny(width=16, layers=1, dropout=0.0), tokenizer, 80, 0)
    recommender = Recommender(model, tokenizer, recommenders.answer_format(tokenizer, items, K, 0))
    linear = linear_recommenders.fit(context.view, context.split, context.classics)
    users = user_model.fit(recommender, prompter, linear, context.held_out_for_sft())
    return Scene(context, recommender, users)


# ---- label probabilities --------------------------------------------------------------------------------------------


def test_saved_user_model_gives_same_chances(scene: Scene, tmp_path: Path) -> None:
    scene.users.save(tmp_path)
    again = user_model.load(tmp_path, scene.recommender, scene.context.prompter)
    assert again.names == scene.users.names == (LANGUAGE_MODEL, *linear_recommenders.NAMES, "popularity")
    assert (again.weights == scene.users.weights).all() and np.ptp(again.weights) > 0.1
    rows = scene.context.tested()
    assert (again.next_item_log_probs(rows) == scene.users.next_item_log_probs(rows)).all()


def test_log_shares_sum_to_one_over_unseen_items(scene: Scene) -> None:
    rows = scene.context.tested()
    found, free = scene.users.next_item_log_probs(rows), unseen(rows, scene.context.view.items.rows)
    np.testing.assert_allclose(np.where(free, np.exp(found), 0.0).sum(1), 1.0, atol=1e-4)
    assert (found[~free] == LEAST).all() and not free.all(1).any() and (found >= LEAST).all()
    some = np.arange(300) % 7
    assert (scene.users.next_item_log_probs(rows.take(some)) == found[some]).all(), "however rows are put into batches"


def test_blend_is_likelier_than_each_source(scene: Scene) -> None:
    rows = scene.context.held_out_for_sft()
    examples = scene.users.examples(rows)
    best = examples.log_likelihood(scene.users.weights).sum()
    for i, name in enumerate(scene.users.names):
        alone = replace(examples, features=examples.features[i : i + 1])
        assert best > alone.log_likelihood(blend.fit(alone)).sum(), name
    assert best > examples.log_likelihood(np.zeros(len(scene.users.names))).sum()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 999), st.integers(1, 9))
def test_prior_equals_its_definition(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    shares, others = (rng.uniform(LEAST, 0, (4, width)).astype(np.float32) for width in (7, 3))
    for own, of in ((user_model.prior(shares, k), shares), (user_model.prior(shares, k, others), others)):
        assert own.shape == of.shape
        for row, logs in enumerate(of.tolist()):
            ordered = sorted(np.exp(shares[row].astype(np.float64)).tolist(), reverse=True)
            likely = ordered[min(k, 7) - 1]
            wanted = [np.log(np.exp(log) + likely) / RESIDUAL for log in logs]
            np.testing.assert_allclose(own[row], wanted, rtol=1e-4, atol=1e-4)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 999), st.integers(1, 9))
def test_prior_keeps_order_and_compresses_unlikely_items(seed: int, k: int) -> None:
    shares = np.sort(np.random.default_rng(seed).uniform(LEAST, 0, (4, 30)).astype(np.float32), 1)[:, ::-1].copy()
    steps, before = -np.diff(user_model.prior(shares, k), axis=1), -np.diff(shares, axis=1) / RESIDUAL
    assert (steps >= 0).all() and (steps <= before + 1e-4).all()
    found = user_model.prior(shares, k)
    assert (found[:, k - 1] - found[:, -1] <= np.log(2) / RESIDUAL + 1e-4).all(), "whatever lies behind the K-th"


def test_flat_logits_choose_by_prior(scene: Scene) -> None:
    shares = scene.users.next_item_log_probs(scene.context.tested())
    chosen = (torch.from_numpy(user_model.prior(shares, K)) * RESIDUAL).softmax(1).numpy()
    draws = np.exp(shares)
    evened = draws + np.sort(draws, 1)[:, -K, None]
    np.testing.assert_allclose(chosen, evened / evened.sum(1, keepdims=True), rtol=1e-3)
    assert (chosen.argmax(1) == shares.argmax(1)).all()


@pytest.mark.parametrize("order", [False, True])
def test_expected_label_count_equals_given_count(order: bool, scene: Scene) -> None:
    rows = scene.context.tested()
    count = np.where(np.arange(len(rows)) % 2, 3, 1)
    log_probs = scene.users.next_item_log_probs(rows)
    found = user_model.with_label_probabilities(rows, log_probs, count, order=order).label_probabilities
    free = unseen(rows, scene.context.view.items.rows)
    assert found is not None and (found.at == np.arange(len(rows))).all() and (found.count == count).all()
    np.testing.assert_allclose(found.table.sum(1), count, rtol=1e-4)
    assert (found.table[~free] == 0).all() and (found.table[free] > 0).any() and found.table.max() <= 1
    assert (found.draws is not None) == order
    if found.draws is not None:
        assert ((found.draws >= 0).sum(2) == count).all() and (found.draws[:, count == 1, 1:] == -2).all()
        assert all(free[i, item] for lists in found.draws for i, own in enumerate(lists) for item in own if item >= 0)
        assert (found.draws[0] != found.draws[1]).any()


def test_likelihood_averages_next_item_and_first_place(scene: Scene) -> None:
    rows = scene.context.held_out().take(np.arange(6))
    model, form, prompter = scene.recommender.model, scene.recommender.form, scene.context.prompter
    blocked = Evaluator.of(scene.recommender, prompter, scene.context.compiled, rows)
    evaluator = Evaluator.of(scene.recommender, prompter, None, rows)
    found = []
    for i, prompt in enumerate(prompter.prompts(rows)):
        [whole] = scene.recommender.encode([prompt])
        last = max(at for at, token in enumerate(whole) if form.item_base <= token < form.item_base + form.items)
        for text in (whole[: last + 1], [*whole, form.answer_open]):
            logits = model(input_ids=torch.tensor([text])).logits[0, -1, form.item_columns].detach()
            logp = logits.masked_fill(torch.from_numpy(~evaluator.legal[i]), -torch.inf).log_softmax(0)
            found.append([float(logp[item]) for item in rows.next_items.row(i).tolist() if evaluator.legal[i, item]])
    wanted = float(np.concatenate(found).mean())
    assert evaluator.likelihood(scene.recommender) == pytest.approx(wanted, abs=1e-4)
    assert (blocked.legal < evaluator.legal).any()


# ---- what GRPO is asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["expected", "real"])
def test_contexts_contain_no_held_out_events(labels: Literal["expected", "real"], scene: Scene) -> None:
    context = scene.asked(labels)
    rows, contexts = run_stages.contexts(context, scene.users)
    split, view = context.split, context.view
    for i in range(len(rows)):
        training = set(view.item[view.start[rows.user[i]] : split.train_end[rows.user[i]]].tolist())
        assert set(rows.history.row(i).tolist()) <= training and set(rows.next_items.row(i).tolist()) <= training
    assert len(contexts.prompts) == len(contexts.row) == 50 * 8
    for prompt, row in zip(contexts.prompts, contexts.row.tolist(), strict=True):
        shown = re.findall(r"<item_\d+>", prompt)
        assert shown and {*shown} <= {item_token(item) for item in rows.history.row(row).tolist()}
    assert contexts.priors is not None
    np.testing.assert_allclose(contexts.priors, user_model.prior(scene.users.next_item_log_probs(rows), K), rtol=1e-5)


def test_expected_label_contexts_end_at_training_and_are_even(scene: Scene) -> None:
    context = scene.asked("expected")
    rows, contexts = run_stages.contexts(context, scene.users)
    split, view = context.split, context.view
    assert (rows.user == np.flatnonzero(split.train_end > view.start[:-1])).all()
    for i, user in enumerate(rows.user.tolist()):
        assert rows.history.row(i).tolist() == view.item[view.start[user] : split.train_end[user]].tolist()
        assert rows.now[i] == view.time[split.train_end[user] - 1], "no later event tells the time"
    assert not rows.next_items.lengths.any()
    assert (
        rows.label_probabilities is not None and (rows.label_probabilities.count == context.expected_events(rows)).all()
    )
    np.testing.assert_allclose(rows.label_probabilities.table.sum(1), rows.label_probabilities.count, rtol=1e-4)
    times = np.bincount(contexts.row, minlength=len(rows))
    assert times.max() - times.min() <= 1 and len({*contexts.prompts}) > len(rows)


def test_real_label_contexts_use_training_examples(scene: Scene) -> None:
    context = scene.asked("real")
    rows, contexts = run_stages.contexts(context, scene.users)
    assert rows.label_probabilities is None and (rows.next_items.lengths > 0).all()
    assert (contexts.row == np.arange(len(rows))).all()


def test_expected_event_count_equals_held_out_count(scene: Scene) -> None:
    context = scene.context
    for rows, held in ((context.split.test, "test"), (endings(context.view, context.split), "ending")):
        events = np.diff(context.view.start)[rows.user]
        wanted = [3 if n >= 9 else 1 for n in events.tolist()]
        assert context.expected_events(rows).tolist() == wanted, held
    assert (context.split.test.next_items.lengths == context.expected_events(context.split.test)).all()


def test_users_without_training_events_are_left_out() -> None:
    dataset = data.simulate(users=20, items=120, creators=6).dataset
    split = data.split(dataset, holdout=2)
    nobody = replace(split, train_end=np.where(np.arange(20) < 5, dataset.start[:-1], split.train_end))
    assert endings(dataset, nobody).user.tolist() == list(range(5, 20))

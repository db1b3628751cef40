"""Checks candidate pools: their items, and that slates stay within them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Codes, Ragged
from recpolicy.dataset.rows import Rows
from recpolicy.errors import UsageError
from recpolicy.evaluation import baselines, metrics
from recpolicy.evaluation.baselines import Baseline
from recpolicy.language import checker
from recpolicy.language.checker import Loaded
from recpolicy.rewards import RewardComputer
from recpolicy.search import greedy
from recpolicy.search.expected import slates
from recpolicy.trainer import config, pipeline, run_stages
from recpolicy.trainer.config import Grpo, Prompt, Tiny
from recpolicy.trainer.decoding.rollout import uniforms
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.evaluation.rerank_control import RerankControl
from recpolicy.trainer.models import recommenders, tiny, user_model
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.models.user_model import UserModel
from recpolicy.trainer.prompting import candidate_pools
from recpolicy.trainer.run_context import RunContext
from recpolicy.trainer.stages import grpo_trainer, sft
from recpolicy.user_model import linear_recommenders

N, K = 20, 4
HEAD = f'policy "pooled" {{ language = 1  data = "simulator"  slate = {K} }}\n'
RULES = (
    "reward relevance weight 1 = ndcg(next_items)\nquota voices hard = at most 1 per item.creator\n"
    "block reported = item.report_rate > 3%\ntarget ads = share(item.is_ad) >= 1%\n"
)


def read(folder: Path, rules: str = RULES) -> Loaded:
    path = folder / "pooled.policy"
    path.write_text(HEAD + rules)
    return checker.read(str(path))


@dataclass(frozen=True)
class Scene:
    """A run's material with pools, and a model of random weights."""

    context: RunContext
    recommender: Recommender
    users: UserModel

    @property
    def compiled(self) -> CompiledPolicy:
        return self.context.compiled

    @property
    def retriever(self) -> Baseline:
        return self.context.classics["ease_recency"]

    @property
    def rows(self) -> Rows:
        return self.context.split.test

    def drawn(self, rows: Rows, seed: int = 0, **settings: float) -> Codes:
        asked = Prompt.model_validate({"pool": N} | settings)
        found = candidate_pools.draw(rows, self.retriever, self.compiled.servable, asked, seed).pool
        assert found is not None
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    settings = config.load(None, {"prompt.pool": N, "prompt.history": 15, "prompt.think": 3})
    context = pipeline.prepare(read(tmp_path_factory.mktemp("scene")), "simulator", "tiny", settings)
    prompter, items = context.prompter, context.view.items.rows
    rows = sft.training_rows(context.view, context.split, K, 200, 0)
    tokenizer = tiny.tokenizer(prompter.prompts(rows) + prompter.completions(rows), items)
    form = recommenders.answer_format(tokenizer, items, K, 3)
    model = tiny.decoder(Tiny(width=16, layers=1, dropout=0.0), tokenizer, 80, 0)
    recommender = Recommender(model, tokenizer, form)
    linear = linear_recommenders.fit(context.view, context.split, context.classics)
    return Scene(context, recommender, user_model.fit(recommender, prompter, linear, context.held_out_for_sft()))


def inside(slates: Codes, pools: Codes | None) -> bool:
    """Whether every slate that is not empty holds items of its row's pool only."""
    assert pools is not None and (slates >= 0).any()
    return all(set(slate[slate >= 0]) <= set(own) for slate, own in zip(slates, pools, strict=True))


# ---- what is in a pool ----------------------------------------------------------------------------------------------


def test_pool_is_full_of_servable_items(scene: Scene) -> None:
    pools = scene.drawn(scene.rows)
    servable = scene.compiled.servable(scene.rows)
    assert pools.shape == (len(scene.rows), N) and (pools >= 0).all()
    assert servable[np.arange(len(pools))[:, None], pools].all() and not servable.all(1).any()
    assert all(len(set(own)) == N for own in pools)


def test_pool_depends_only_on_row_and_seed(scene: Scene) -> None:
    pools = scene.drawn(scene.rows)
    at = np.array([7, 3, 3, 60])
    assert (scene.drawn(scene.rows.take(at)) == pools[at]).all()
    assert not (scene.drawn(scene.rows, seed=1) == pools).all(1).any()
    taken = replace(scene.rows, pool=pools).take(at).pool
    assert taken is not None and np.array_equal(taken, pools[at])
    some = replace(scene.rows, pool=pools).sample(9, 0)
    assert some.pool is not None and np.array_equal(scene.drawn(some), some.pool)


def test_next_items_do_not_change_pool(scene: Scene) -> None:
    pools = scene.drawn(scene.rows)
    following = scene.rows.next_items
    for others in (following.take(np.arange(len(pools))[::-1]), Ragged.of([[]] * len(pools))):
        assert (scene.drawn(replace(scene.rows, next_items=others)) == pools).all()
    held = scene.context.held_out()
    none = replace(scene.context.split, validation=replace(scene.context.split.validation, next_items=following))
    blind = replace(scene.context, split=none)
    blind.__dict__["classics"] = scene.context.classics  # fitted before
    unknowing = blind.held_out().pool
    assert held.pool is not None and unknowing is not None and np.array_equal(unknowing, held.pool)


def test_pool_holds_best_retriever_items_and_random_rest(scene: Scene) -> None:
    best = baselines.top(scene.retriever.scores(scene.rows), scene.rows, N, scene.compiled.legal(scene.rows)).items
    by_hand = scene.drawn(scene.rows, random_fraction=0)
    assert [set(own) for own in by_hand] == [set(own) for own in best]
    for own, liked in zip(scene.drawn(scene.rows, random_fraction=0.25), best, strict=True):
        assert set(liked[:15]) <= set(own)
    drawn_evenly = scene.drawn(scene.rows, random_fraction=1)
    counts = np.bincount(drawn_evenly.ravel(), minlength=600)
    expected = scene.compiled.servable(scene.rows).sum(0) * N / scene.compiled.servable(scene.rows).sum(1).mean()
    assert abs(counts - expected).max() < 5 * np.sqrt(expected.max()) and counts[expected == 0].max(initial=0) == 0


def test_pool_order_is_independent_of_score(scene: Scene) -> None:
    pools = scene.drawn(scene.rows)
    scores = np.take_along_axis(scene.retriever.scores(scene.rows), pools.astype(np.int64), 1)
    places = scores.argsort(1).argsort(1).mean(0)  # [N], mean rank of what stands at each place
    assert abs(places - (N - 1) / 2).max() < 5 * N / np.sqrt(12 * len(pools))


def test_pool_is_padded_if_few_items_are_servable(scene: Scene) -> None:
    few = replace(scene.rows, pool=np.tile(np.arange(7, dtype=np.int32), (len(scene.rows), 1)))
    found = candidate_pools.draw(few, scene.retriever, scene.compiled.servable, Prompt(pool=N), 0).pool
    assert found is not None
    for row, own in enumerate(found):
        assert sorted(own[own >= 0]) == np.flatnonzero(scene.compiled.servable(few)[row]).tolist()
    every = scene.drawn(scene.rows.take(np.arange(3)), pool=1000)
    assert ((every >= 0).sum(1) == scene.compiled.servable(scene.rows.take(np.arange(3))).sum(1)).all()


def test_sft_pool_includes_answers_and_best_items(scene: Scene) -> None:
    rows = sft.training_rows(scene.context.view, scene.context.split, K, 300, 0)
    plain, answered = scene.context.pooled(rows), scene.context.answered(rows)
    assert candidate_pools.recall(plain) < 1.0 == candidate_pools.recall(answered)
    assert plain.pool is not None and answered.pool is not None
    best = baselines.top(scene.retriever.scores(rows), rows, N - 4).items  # a fifth of 20 is drawn
    for row, own in enumerate(answered.pool):
        assert len(set(own)) == N and set(rows.next_items.row(row)) <= set(own)
        assert not set(rows.history.row(row)) & set(own) and set(best[row]) <= set(own)


def test_sft_pool_ignores_policy_blocks(scene: Scene, tmp_path: Path) -> None:
    def of(rules: str, **more: object) -> RunContext:
        settings = config.load(None, {"prompt.pool": N, **more})
        context = pipeline.prepare(read(tmp_path, rules), "simulator", "tiny", settings)
        context.__dict__["classics"] = scene.context.classics  # fitted before, the policy has no part in it
        return context

    other = "reward variety weight 1 = distance(item.genres)\n"
    mine, theirs = of(RULES), of(other)
    rows = sft.training_rows(mine.view, mine.split, K, 50, 0)
    for a, b in ((mine.answered(rows), theirs.answered(rows)), (mine.held_out_for_sft(), theirs.held_out_for_sft())):
        assert a.pool is not None and b.pool is not None and (a.pool == b.pool).all()
    blocked, free = mine.held_out().pool, theirs.held_out().pool
    assert blocked is not None and free is not None and (blocked != free).any()
    assert mine.sft_key() == theirs.sft_key()
    told = {"prompt.policy": True}
    assert of(RULES, **told).sft_key() != of(other, **told).sft_key() != mine.sft_key()


def test_pool_smaller_than_slate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        pipeline.prepare(read(tmp_path), "simulator", "tiny", config.load(None, {"prompt.pool": K - 1}))
    assert "a pool of 3 items" in error.value.message and "--pool" in error.value.help


# ---- slates stay within it ------------------------------------------------------------------------------------------


def test_only_pool_items_are_servable(scene: Scene) -> None:
    rows = scene.context.pooled(scene.rows)
    assert rows.pool is not None
    served = scene.compiled.servable(rows)
    assert [np.flatnonzero(row).tolist() for row in served] == np.sort(rows.pool, 1).tolist()
    target = scene.compiled.targets[0]
    assert inside(greedy.lists(scene.compiled, rows, [(target, 1.0)]).items, rows.pool)


def test_model_and_control_slates_stay_in_pool(scene: Scene) -> None:
    rows = scene.context.pooled(scene.rows).take(np.arange(50))
    prior = user_model.prior(scene.users.next_item_log_probs(rows), 3)
    evaluator = Evaluator.of(scene.recommender, scene.context.prompter, scene.compiled, rows, prior)
    for one in (evaluator, replace(evaluator, prior=None)):
        assert inside(one.greedy(scene.recommender).items, rows.pool)
        assert rows.pool is not None
        assert inside(one.sampled(scene.recommender, 2, 1.0, 0).items, np.repeat(rows.pool, 2, 0))
    candidates, likely = evaluator.candidates(scene.recommender)
    assert inside(np.where(np.isfinite(likely), candidates, np.int32(-1)), rows.pool)
    log_probs, count = scene.users.next_item_log_probs(rows), scene.context.expected_events(rows)
    expected = user_model.with_label_probabilities(rows, log_probs, count, order=False)
    control = RerankControl(scene.compiled, expected, evaluator.legal)
    assert inside(control.slates(0.5).items, rows.pool)
    assert inside(slates(expected, evaluator.legal, control.objective(0.5), start=control.slates(0.0)).items, rows.pool)
    without = Evaluator.of(scene.recommender, scene.context.prompter, None, rows)
    assert inside(without.greedy(scene.recommender).items, rows.pool)


@pytest.mark.parametrize("labels", ["expected", "real"])
def test_contexts_and_rollouts_stay_in_pool(labels: Literal["expected", "real"], scene: Scene) -> None:
    form, settings = scene.recommender.form, Grpo(steps=2, prompts_per_step=4, labels=labels)
    context = replace(scene.context, config=scene.context.config.model_copy(update={"grpo": settings}))
    context.__dict__["classics"] = scene.context.classics  # fitted before
    rows, contexts = run_stages.contexts(context, scene.users)
    draws = uniforms(0, 1, 0, 8, form.longest)
    computer, row = RewardComputer(scene.compiled, rows, context.view.items.rows), contexts.row
    assert contexts.priors is not None and rows.pool is not None
    _, said, mask = grpo_trainer.sample(
        scene.recommender, computer, contexts.prompts, row.tolist(), 1.0, draws, contexts.priors[row]
    )
    assert inside(form.slates(said).numpy(), rows.pool[row]) and mask.history.any()
    assert set(mask.history[0].any(0).nonzero()[:, 0].tolist()) <= set(rows.pool[row[0]].tolist())


def test_pool_with_too_few_legal_items_leaves_holes(scene: Scene) -> None:
    rows = scene.rows.take(np.arange(10))
    free = scene.compiled.servable(rows)
    two = np.array([np.flatnonzero(row)[:2] for row in free], np.int32)
    few = replace(rows, pool=np.concatenate([two, np.full((10, 3), -1, np.int32)], 1))
    evaluator = Evaluator.of(scene.recommender, scene.context.prompter, None, few)
    found = evaluator.greedy(scene.recommender).items
    assert (np.sort(found[:, :2], 1) == two).all() and (found[:, 2:] == -1).all()
    assert metrics.mean((found < 0).mean(1)) == 0.5

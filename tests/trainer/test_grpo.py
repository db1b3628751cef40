"""GRPO with a real trainer of TRL: it learns, keeps what is hard, says when there is nothing to learn from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset as PromptDataset
from trl import GRPOTrainer

from recpolicy import checker, data
from recpolicy.compiler import compile
from recpolicy.dataset import Slates
from recpolicy.demands import Score
from recpolicy.errors import UsageError
from recpolicy.rewards import Judge
from recpolicy.trainer import grpo, models, sft, tiny
from recpolicy.trainer.config import Config, Grpo, Prompt, Tiny
from recpolicy.trainer.evaluate import Examiner
from recpolicy.trainer.grpo import PolicyGRPOTrainer
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.objectives import Objectives
from recpolicy.trainer.prompts import Prompter
from recpolicy.trainer.validation import Standing, Validation
from tests.trainer.quiet import quiet

HEAD = 'policy "small" { language = 1  data = "simulator"  slate = 4 }\n'
SHORT = Grpo(steps=3, prompts=8, generations=4, evaluate_every=3, steer_every=1, learning_rate=3e-2, temperature=1.0)


@dataclass
class Told:
    """Everything GRPO tells."""

    steps: list[dict[str, float]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    standings: list[tuple[Standing, dict[str, float]]] = field(default_factory=list)

    def validated(self, step: int, score: Score) -> None:
        self.scores.append(score)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(dict(values))

    def steered(self, step: int, standing: Standing, objectives: Objectives) -> None:
        self.standings.append((standing, dict(objectives.multipliers)))


@dataclass(frozen=True)
class Course:
    """A policy on the simulator, and a model of random weights."""

    recommender: Recommender
    judge: Judge
    prompts: list[str]
    validation: Validation

    def run(self, settings: Grpo, folder: Path) -> tuple[Told, grpo.Trained]:
        told, own = Told(), replace(self.recommender, model=deepcopy(self.recommender.model))
        config, training = Config(grpo=settings), quiet(folder / "checkpoints")
        trained = grpo.train(own, self.prompts, self.judge, self.validation, config, training, told)
        return told, trained


def course(rules: str, folder: Path) -> Course:
    path = folder / "small.policy"
    path.write_text(HEAD + rules)
    loaded = checker.read(str(path))
    dataset = data.open("simulator", loaded.schema)
    split = data.split(dataset)
    view = data.training_view(dataset, split)
    compiled = compile(loaded.policy, view)
    prompter = Prompter(view, Prompt(think=3, history=20), 4)
    items = view.items.rows
    rows = sft.training_rows(view, split, 4, 480, 0)
    prompts = prompter.prompts(rows)
    tokenizer = tiny.tokenizer(prompts + prompter.completions(rows), items)
    form = models.answer_format(tokenizer, items, 4, 3)
    model = tiny.decoder(Tiny(width=16, layers=1, heads=2, dropout=0.0), tokenizer, 80, seed=1)
    recommender = Recommender(model, tokenizer, form)
    few = split.validation.take(np.arange(30))
    examiner = Examiner.of(recommender, prompter, compiled, few)
    baseline = examiner.greedy(recommender)
    return Course(recommender, Judge(compiled, rows, items), prompts, Validation(compiled, examiner, baseline, 30, 0))


def test_a_reward_is_learned_and_the_best_model_kept(tmp_path: Path) -> None:
    made = course("reward ads weight 1 = share(item.is_ad)\n", tmp_path)
    told, trained = made.run(SHORT.model_copy(update={"steps": 30, "evaluate_every": 10}), tmp_path)
    first, last = (np.mean([s["reward"] for s in part]) for part in (told.steps[:5], told.steps[-5:]))
    assert last > first + 0.1
    assert trained.best == max(told.scores) and trained.best.value > told.scores[0].value
    assert trained.stopped is None


def test_a_target_moves_what_no_rule_asks_for(tmp_path: Path) -> None:
    rules = "reward relevance weight 1 = ndcg(next_items)\ntarget ads = share(item.is_ad) >= 60%\n"
    told, trained = course(rules, tmp_path).run(SHORT.model_copy(update={"steps": 30, "evaluate_every": 10}), tmp_path)
    values = [standing.aims[0].value for standing, _ in told.standings]
    assert len(told.steps) == 30 and len(values) == 31 and max(values) > values[0] + 0.3
    assert told.standings[0][1]["ads"] > 0 and trained.best > told.scores[0]


def test_hard_quotas_and_blocks_are_kept_in_every_sample(tmp_path: Path) -> None:
    rules = (
        "reward ads weight 1 = share(item.is_ad)\nquota few hard = at most 1 where item.is_ad\n"
        "quota voices hard = at most 1 per item.creator\nblock reported = item.report_rate > 10%\n"
    )
    made = course(rules, tmp_path)
    seen: list[Slates] = []
    verdict = made.judge.verdict

    def watched(slates: np.ndarray, row: Sequence[int], progress: float = 1.0):  # type: ignore[no-untyped-def]
        seen.append(Slates(slates))
        rows = made.judge.rows.take(np.asarray(row))
        assert not made.judge.compiled.blocked(rows, seen[-1]).any()
        for met in made.judge.compiled.satisfied(rows, seen[-1]).values():
            assert met.all()
        return verdict(slates, row, progress)

    made.judge.verdict = watched  # type: ignore[method-assign]
    made.run(SHORT, tmp_path)
    assert len(seen) >= 3 and all((slates.items >= 0).all() for slates in seen)


def test_the_divergence_from_the_model_it_starts_from_starts_at_nothing(tmp_path: Path) -> None:
    made = course("reward ads weight 1 = share(item.is_ad)\n", tmp_path)
    told, _ = made.run(SHORT.model_copy(update={"beta": 0.1}), tmp_path)
    kl = [step["kl"] for step in told.steps]
    assert abs(kl[0]) < 1e-6 < kl[-1]


def test_rewards_that_are_all_equal_end_training_within_twenty_steps(tmp_path: Path) -> None:
    made = course("reward nothing weight 1 = share(item.popularity < 0)\n", tmp_path)
    with pytest.raises(UsageError) as error:
        made.run(SHORT.model_copy(update={"steps": 60}), tmp_path)
    assert "first 20 steps" in error.value.message and "`nothing` is 0" in error.value.help


@pytest.mark.parametrize("credit", ["rank", "slate"])
def test_credit_is_by_rank_or_by_slate(credit: str, tmp_path: Path) -> None:
    made = course("reward variety weight 1 = distance(item.genres)\n", tmp_path)
    settings = SHORT.model_copy(update={"credit": credit})
    objectives = Objectives(made.judge.compiled, np.array([0.1]), credit == "rank")
    form, spread = made.recommender.form, []
    trainer = PolicyGRPOTrainer(
        made.recommender,
        made.judge,
        objectives,
        args=grpo.arguments(settings, form.longest, quiet(tmp_path)),
        train_dataset=PromptDataset.from_dict({"prompt": made.prompts, "row": list(range(len(made.prompts)))}),
    )
    batch = next(iter(trainer.get_train_dataloader()))  # type: ignore[no-untyped-call]
    found = trainer._generate_and_score_completions(batch)
    for said, credit_of in zip(found["completion_ids"], found["advantages"], strict=True):
        items = credit_of[form.is_item(said)]
        assert (credit_of[: form.is_item(said).int().argmax()] == items[0]).all()  # reasoning carries the whole
        spread.append(float((items - items[0]).abs().max()))
    assert max(spread) > 0.01 if credit == "rank" else max(spread) == 0.0


def test_the_overridden_methods_of_trl_are_as_they_were_read() -> None:
    expected = {
        "_generate_and_score_completions": ["self", "inputs"],
        "_compute_loss": ["self", "model", "inputs"],
        "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    }
    for name, parameters in expected.items():
        assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == parameters
    theirs = list(inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters)
    ours = list(inspect.signature(PolicyGRPOTrainer._get_per_token_logps_and_entropies).parameters)
    assert theirs[: len(ours) - 1] == ours[:-1]
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)" in source
    assert "advantages.dim() == 1" in inspect.getsource(GRPOTrainer._compute_loss)


def test_credit_lies_on_items_and_on_the_reasoning_before_them(recommender: Recommender) -> None:
    form = recommender.form
    word, items = form.word_ids[0], [form.item_base + i for i in range(3)]
    completion = [form.think_open, word, form.think_close, form.answer_open, *items, form.answer_close, form.end]
    found = form.spread(torch.tensor([[0.4, 0.3, 0.2, 0.1]]), torch.tensor([completion]))
    assert torch.allclose(found, torch.tensor([[0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.2, 0.0, 0.0]]))

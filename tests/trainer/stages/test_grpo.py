"""Checks GRPO with TRL's trainer: it learns, keeps hard constraints, and stops without a signal."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset as PromptDataset
from transformers import PreTrainedModel
from trl import GRPOTrainer

from recpolicy import data
from recpolicy.compiler import compile
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import LabelProbabilities, Slates
from recpolicy.dataset.slates import without_seen
from recpolicy.errors import UsageError
from recpolicy.evaluation.targets import Score
from recpolicy.language import checker
from recpolicy.rewards import RewardComputer
from recpolicy.trainer.config import Config, Grpo, Prompt, Tiny
from recpolicy.trainer.decoding.rollout import uniforms
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.evaluation.validation import Validation, ValidationResult
from recpolicy.trainer.models import recommenders, tiny
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.contexts import Contexts
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.trainer.stages import grpo, grpo_trainer, sft
from recpolicy.trainer.stages.advantages import OTHERS
from recpolicy.trainer.stages.grpo_trainer import PolicyGRPOTrainer
from recpolicy.trainer.stages.objectives import Objectives
from tests.trainer.quiet import quiet

HEAD = 'policy "small" { language = 1  data = "simulator"  slate = 4 }\n'
SHORT = Grpo(
    steps=3, prompts_per_step=8, generations=4, evaluate_every=3, steer_every=1, learning_rate=3e-2, temperature=1.0
)


@dataclass
class Told:
    """Records what GRPO reports."""

    steps: list[dict[str, float]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    results: list[tuple[ValidationResult, dict[str, float]]] = field(default_factory=list)

    def validated(self, step: int, score: Score) -> None:
        self.scores.append(score)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(dict(values))

    def targets_measured(self, step: int, result: ValidationResult, objectives: Objectives) -> None:
        self.results.append((result, dict(objectives.multipliers)))


@dataclass(frozen=True)
class Course:
    """A policy on the simulator, and a model of random weights."""

    recommender: Recommender
    computer: RewardComputer
    contexts: Contexts
    validation: Validation

    def run(self, settings: Grpo, folder: Path) -> tuple[Told, grpo.Trained]:
        told, own = Told(), replace(self.recommender, model=deepcopy(self.recommender.model))
        config, training = Config(grpo=settings), quiet(folder / "checkpoints")
        trained = grpo.train(own, self.contexts, self.computer, self.validation, config, training, told)
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
    form = recommenders.answer_format(tokenizer, items, 4, 3)
    model = tiny.decoder(Tiny(width=16, layers=1, heads=2, dropout=0.0), tokenizer, 80, seed=1)
    recommender = Recommender(model, tokenizer, form)
    few = split.validation.take(np.arange(30))
    evaluator = Evaluator.of(recommender, prompter, compiled, few)
    baseline = evaluator.greedy(recommender)
    contexts = Contexts(prompts, np.arange(len(rows)))
    validation = Validation(compiled, evaluator, baseline, 30, 0)
    return Course(recommender, RewardComputer(compiled, rows, items), contexts, validation)


def with_prior(made: Course, size: float) -> Course:
    """The course with a random prior of standard deviation `size` in training and validation."""
    rng = np.random.default_rng(0)
    priors, held_out = (
        rng.normal(0.0, size, (len(rows), made.computer.items)).astype(np.float32)
        for rows in (made.computer.rows, made.validation.evaluator.rows)
    )
    evaluator = replace(made.validation.evaluator, prior=held_out)
    return replace(
        made,
        contexts=replace(made.contexts, priors=priors),
        validation=replace(made.validation, evaluator=evaluator, baseline=evaluator.greedy(made.recommender)),
    )


def test_reward_is_learned_and_best_model_kept(tmp_path: Path) -> None:
    made = course("reward ads weight 1 = share(item.is_ad)\n", tmp_path)
    told, trained = made.run(SHORT.model_copy(update={"steps": 30, "evaluate_every": 10}), tmp_path)
    first, last = (np.mean([s["reward"] for s in part]) for part in (told.steps[:5], told.steps[-5:]))
    assert last > first + 0.1
    assert trained.best == max(told.scores) and trained.best.value > told.scores[0].value
    assert trained.stopped is None


def test_target_moves_metric_without_rule(tmp_path: Path) -> None:
    rules = "reward relevance weight 1 = ndcg(next_items)\ntarget ads = share(item.is_ad) >= 60%\n"
    told, trained = course(rules, tmp_path).run(SHORT.model_copy(update={"steps": 30, "evaluate_every": 10}), tmp_path)
    values = [result.aims[0].value for result, _ in told.results]
    assert len(told.steps) == 30 and len(values) == 31 and max(values) > values[0] + 0.3
    assert told.results[0][1]["ads"] > 0 and trained.best > told.scores[0]


def test_samples_keep_hard_quotas_and_blocks(tmp_path: Path) -> None:
    rules = (
        "reward ads weight 1 = share(item.is_ad)\nquota few hard = at most 1 where item.is_ad\n"
        "quota voices hard = at most 1 per item.creator\nblock reported = item.report_rate > 10%\n"
    )
    made = course(rules, tmp_path)
    seen: list[Slates] = []
    of_slates = made.computer.of_slates

    def watched(slates: np.ndarray, row: Sequence[int], progress: float = 1.0):  # type: ignore[no-untyped-def]
        seen.append(Slates(slates))
        rows = made.computer.rows.take(np.asarray(row))
        assert not made.computer.compiled.blocked(rows, seen[-1]).any()
        for met in made.computer.compiled.satisfied(rows, seen[-1]).values():
            assert met.all()
        return of_slates(slates, row, progress)

    made.computer.of_slates = watched  # type: ignore[method-assign]
    made.run(SHORT, tmp_path)
    assert len(seen) >= 3 and all((slates.items >= 0).all() for slates in seen)


def test_large_beta_keeps_choices_near_prior(tmp_path: Path) -> None:
    made = with_prior(course("reward ads weight 1 = share(item.is_ad)\n", tmp_path), 3.0)
    apart = {}
    for beta in (0.0, 1.0):
        told, _ = made.run(SHORT.model_copy(update={"beta": beta}), tmp_path / str(beta))
        apart[beta] = told.steps[-1]["divergence"]
    assert 0 < apart[1.0] < apart[0.0]


def test_divergence_enters_loss_times_beta(tmp_path: Path) -> None:
    made = with_prior(course("reward ads weight 1 = share(item.is_ad)\n", tmp_path), 3.0)
    losses = {}
    for beta in (0.0, 0.5):
        trainer, found = collected(made, SHORT.model_copy(update={"beta": beta}), tmp_path)
        trainer.current_gradient_accumulation_steps = 1
        assert isinstance(trainer.model, PreTrainedModel)
        losses[beta] = float(trainer._compute_loss(trainer.model.train(), found).detach())
    form, prompts = made.recommender.form, found["prompt_ids"].shape[1]
    ids = torch.cat([found["prompt_ids"], found["completion_ids"]], 1)
    mask = torch.cat([found["prompt_mask"], found["completion_mask"]], 1)
    own = made.recommender.model(input_ids=ids, attention_mask=mask).logits.detach()[..., form.item_columns]
    apart = 0.0
    for row, said in enumerate(found["completion_ids"]):
        for place, at in enumerate(form.is_item(said).nonzero()[:, 0].tolist()):
            open_ = found["allowed"][row, place]
            prior = found["prior"][row, open_]
            p, p0 = ((x / SHORT.temperature).log_softmax(0) for x in (own[row, prompts + at - 1, open_] + prior, prior))
            apart += float(p.exp() @ (p - p0))
    wanted = 0.5 * apart / len(ids) / form.longest
    assert losses[0.5] - losses[0.0] == pytest.approx(wanted, rel=1e-3) and wanted > 1e-5


def test_equal_rewards_stop_training_within_20_steps(tmp_path: Path) -> None:
    made = course("reward nothing weight 1 = share(item.popularity < 0)\n", tmp_path)
    with pytest.raises(UsageError) as error:
        made.run(SHORT.model_copy(update={"steps": 60}), tmp_path)
    assert "first 20 steps" in error.value.message and "`nothing` is 0" in error.value.help


def test_expected_labels_are_learned_without_real_labels(tmp_path: Path) -> None:
    made = course("reward relevance weight 1 = ndcg(next_items)\n", tmp_path)
    rows = made.computer.rows.take(np.arange(20))
    table = np.zeros((20, made.computer.items), np.float32)
    table[:, ::10] = 0.2  # sixty likely items
    rows = replace(
        rows,
        next_items=Ragged.of([[]] * 20),
        label_probabilities=LabelProbabilities(table, np.arange(20), np.full(20, 12, np.int64)),
    )
    contexts = Contexts([made.contexts.prompts[i % 20] for i in range(480)], np.arange(480) % 20)
    computer = RewardComputer(made.computer.compiled, rows, made.computer.items)
    settings = SHORT.model_copy(update={"steps": 30, "evaluate_every": 30})
    told, _ = replace(made, computer=computer, contexts=contexts).run(settings, tmp_path)
    first, last = (np.mean([s["reward"] for s in part]) for part in (told.steps[:5], told.steps[-5:]))
    assert first == pytest.approx(0.02, abs=0.01), "a tenth of the catalog has a chance of 0.2"
    assert last > first + 0.05


def test_calibration_gives_rule_and_target_deviations(tmp_path: Path) -> None:
    rules = (
        "reward relevance weight 0.5 = ndcg(next_items)\nreward variety weight 1 = distance(item.genres)\n"
        "bury ads weight 0.5 = item.is_ad\ntarget many = share(item.is_ad) >= 60%\n"
    )
    made = course(rules, tmp_path)
    compiled, copies, prior = made.computer.compiled, SHORT.generations, with_prior(made, 1.0).contexts.priors
    contexts = replace(made.contexts, priors=prior)
    objectives = Objectives(compiled, np.ones(0))
    found, scale = grpo.calibrate(made.recommender, contexts, made.computer, objectives, Config(grpo=SHORT))
    assert scale == pytest.approx(2.0) and prior is not None
    row = np.repeat(np.arange(grpo.CALIBRATION), copies).tolist()
    form = made.recommender.form
    draws = uniforms(0, 0, 0, len(row), form.longest)
    asked = [contexts.prompts[at] for at in row]
    _, said, *_ = grpo_trainer.sample(made.recommender, made.computer, asked, row, 1.0, draws, prior[row])
    slates, rows = Slates(form.slates(said).numpy()), made.computer.rows.take(np.array(row))
    whole, target = (
        float(np.sqrt(values.reshape(-1, copies).var(1, ddof=1).mean()))
        for values in (compiled.total(rows, slates), compiled.target_values(rows, slates)["many"])
    )
    assert found == pytest.approx([whole, whole, whole, target])
    assert min(whole, target) > 0.01


def collected(made: Course, settings: Grpo, folder: Path) -> tuple[PolicyGRPOTrainer, dict[str, Any]]:
    """A trainer of the course, and its first batch of scored completions."""
    trainer = PolicyGRPOTrainer(
        made.recommender,
        made.computer,
        Objectives(made.computer.compiled, np.full(len(made.computer.compiled.rules), 0.1)),
        made.contexts.priors,
        settings.beta,
        settings.credit == "place",
        args=grpo.arguments(settings, made.recommender.form.longest, quiet(folder)),
        train_dataset=PromptDataset.from_dict({"prompt": made.contexts.prompts, "row": made.contexts.row.tolist()}),
    )
    batch = next(iter(trainer.get_train_dataloader()))  # type: ignore[no-untyped-call]
    return trainer, trainer._generate_and_score_completions(batch)


def worth(made: Course, row: int, slate: Sequence[int]) -> float:
    """What one slate is worth in training: the whole reward, in deviations of a tenth."""
    rows, slates = made.computer.rows.take(np.array([row])), Slates(np.array([slate], np.int32))
    return float(made.computer.compiled.total(rows, slates)[0]) / 0.1


def changed(slate: Sequence[int], place: int, item: int) -> list[int]:
    """The slate with the item at that place; where it stood elsewhere, the two change places."""
    return [item if at == place else slate[place] if other == item else other for at, other in enumerate(slate)]


@pytest.mark.parametrize(
    ("credit", "copies"), [("place", 2), ("place", 4), ("place", 8), ("slate", 4)], ids=lambda value: f"{value}"
)
def test_place_credit_equals_item_change_or_whole_advantage(credit: str, copies: int, tmp_path: Path) -> None:
    rules = (
        "reward variety weight 0.5 = distance(item.genres)\nreward ads weight 0.5 = exposure(item.is_ad)\n"
        "quota voices hard = at most 1 per item.creator\n"
    )
    made = course(rules, tmp_path)
    settings = SHORT.model_copy(update={"credit": credit, "generations": copies, "prompts_per_step": 32 // copies})
    trainer, found = collected(made, settings, tmp_path)
    assert trainer._batch.slates is not None
    form, slates = made.recommender.form, trainer._batch.slates.tolist()
    shut = 0
    for at, (said, carried) in enumerate(zip(found["completion_ids"], found["advantages"], strict=True)):
        row, own, item = trainer._batch.rows[at], slates[at], form.is_item(said)
        group = [slates[at - at % copies + (at + i) % copies] for i in range(copies)]  # its own first
        mine = worth(made, row, own)
        whole = mine - float(np.mean([worth(made, row, slate) for slate in group]))
        wanted = []
        for place in range(form.slate if credit == "place" else 0):
            tried = [slate[place] for slate in group[1 : OTHERS + 1]]
            open_ = [other for other in tried if found["allowed"][at, place, other]]
            shut += len(tried) - len(open_)
            lost = [mine - worth(made, row, changed(own, place, other)) for other in open_]
            wanted.append(float(np.mean(lost)) if lost else 0.0)
        told = wanted or [whole] * form.slate
        np.testing.assert_allclose(carried[item].numpy(), told, atol=1e-5)
        first = int(item.int().argmax())
        np.testing.assert_allclose(carried[:first].numpy(), whole, atol=1e-5, err_msg="words carry the whole")
        assert not carried[first + form.slate :].any()
    assert shut > 0 or (credit, copies) != ("place", 8), "some were not open"


def test_prior_is_used_in_rollouts_and_scoring(tmp_path: Path) -> None:
    made = course("reward variety weight 1 = distance(item.genres)\n", tmp_path)
    priors = np.zeros((len(made.computer.rows), made.computer.items), np.float32)
    likely = np.random.default_rng(0).permuted(np.tile(np.arange(made.computer.items), (len(priors), 1)), axis=1)[:, :5]
    np.put_along_axis(priors, likely, 50.0, 1)  # all but certain
    trainer, found = collected(replace(made, contexts=replace(made.contexts, priors=priors)), SHORT, tmp_path)
    form, rows = made.recommender.form, trainer._batch.rows
    slates = form.slates(found["completion_ids"]).numpy()
    of = without_seen(likely[rows].astype(np.int32), made.computer.rows.take(np.array(rows)), made.computer.items).items
    whole = (of >= 0).all(1)
    assert whole.sum() > 5 and all(set(slate) <= set(own) for slate, own in zip(slates[whole], of[whole], strict=True))
    ids = torch.cat([found["prompt_ids"], found["completion_ids"]], 1)
    mask = torch.cat([found["prompt_mask"], found["completion_mask"]], 1)
    assert isinstance(trainer.model, PreTrainedModel)
    scored = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, found["completion_ids"].shape[1])[0]
    chosen = scored.detach()[form.is_item(found["completion_ids"])].reshape(-1, form.slate).numpy()[whole]
    shares = -np.log([[5, 4, 3, 2]])  # as good as alike, whatever the model's own logits
    assert np.abs(chosen - shares).max() < 1.0


def test_trl_methods_have_expected_signatures() -> None:
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


def test_credit_is_spread_over_items_and_reasoning(recommender: Recommender) -> None:
    form = recommender.form
    word, items = form.word_ids[0], [form.item_base + i for i in range(3)]
    completion = [form.think_open, word, form.think_close, form.answer_open, *items, form.answer_close, form.end]
    places, whole = torch.tensor([[0.4, 0.3, 0.2, 0.1]] * 2), torch.tensor([0.7, -0.7])
    nothing = [form.answer_open, form.answer_close, form.end, *[form.pad] * 6]
    found = form.spread(places, whole, torch.tensor([completion, nothing]))
    assert torch.allclose(found[0], torch.tensor([0.7, 0.7, 0.7, 0.7, 0.4, 0.3, 0.2, 0.0, 0.0]))
    assert not found[1].any(), "an answer without items has no choice to credit"


def test_learning_rate_decays_linearly_to_zero(tmp_path: Path) -> None:
    told, _ = course("reward ads weight 1 = share(item.is_ad)\n", tmp_path).run(
        SHORT.model_copy(update={"steps": 15, "evaluate_every": 15}), tmp_path
    )
    rates = [step["learning_rate"] for step in told.steps]
    assert rates[10:] == pytest.approx([SHORT.learning_rate * (15 - at) / 5 for at in range(10, 15)])
    assert rates[:10] == sorted(rates[:10]), "ten steps to warm up"

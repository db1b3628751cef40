"""Runs the stages of a run: supervised fine-tuning, the user model, and GRPO with the policy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from recpolicy import data
from recpolicy.analysis import feasibility
from recpolicy.dataset.candidates import is_large
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.errors import PolicyError
from recpolicy.evaluation import metrics
from recpolicy.evaluation.guardrail import is_guardrail
from recpolicy.evaluation.targets import Score, TargetProgress
from recpolicy.rewards import RewardComputer
from recpolicy.runs import Run, finished, write_json
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.distributed import processes, sharding
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.evaluation.validation import Validation, ValidationResult
from recpolicy.trainer.models import recommenders, user_model
from recpolicy.trainer.models.user_model import UserModel
from recpolicy.trainer.prompting.contexts import Contexts, endings
from recpolicy.trainer.run_context import RunContext
from recpolicy.trainer.stages import grpo, sft
from recpolicy.trainer.stages.checkpoints import Checkpoints
from recpolicy.trainer.stages.objectives import Objectives
from recpolicy.trainer.stages.reporting import Reporting
from recpolicy.trainer.stages.training import Training
from recpolicy.user_model import linear_recommenders, retrieval

CONTEXTS = 100_000_000
"""Largest number of (user, item) pairs whose label probabilities GRPO holds."""

PARTS = ("sampling", "rewards", "advantages", "loss")
"""Parts of a GRPO step whose seconds are logged, as `time/PART`."""


class Progress(Protocol):
    """Receives the progress of a run."""

    def stage(self, name: str, note: str) -> None:
        """Receives a note of a stage: that it begins, that it was done before, or another message."""

    def validated(self, stage: str, step: int, steps: int, score: Score) -> None:
        """Receives the model's score on validation users."""

    def stepped(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """Receives what TRL logged of one GRPO step."""

    def targets_measured(self, step: int, targets: Sequence[TargetProgress]) -> None:
        """Receives the policy's targets, with the multipliers that follow from them."""


def refuse_out_of_reach(context: RunContext, progress: Progress, baseline: Slates | None = None) -> None:
    """Checks on validation users whether the targets can be reached, and warns of pairs that conflict.

    Without `baseline`, it checks the targets whose bound does not depend on a baseline; with it, the others. `baseline`
    holds the slates of the validation rows that `of baseline` refers to. Raises PolicyError for a target that the best
    lists found do not reach.
    """
    compiled, loaded, rows = context.compiled, context.loaded, context.held_out()
    means: dict[str, float] = {}
    if baseline is not None:
        values = compiled.target_values(rows, baseline)
        means = {name: metrics.mean(value) for name, value in values.items()} | compiled.population(rows, baseline)
    results = [
        feasibility.of_target(compiled, target, rows, means, seed=context.config.seed)
        for target in compiled.targets
        if target.target.of_baseline == (baseline is not None) and not is_guardrail(target.target.name)
    ]
    if refused := [r for r in results if r.within is False]:
        findings = (feasibility.finding(r, compiled, source=loaded.sources.get(r.target.name)) for r in refused)
        raise PolicyError(tuple(findings), loaded.source)
    for pair in feasibility.pairs(compiled, rows, results, seed=context.config.seed):
        if not pair.together:
            progress.stage("targets", pair.warning)


def run_sft(context: RunContext, run: Run, progress: Progress) -> Path:
    """Returns the folder of the SFT model in the run: a copy from the cache, for which it is trained if missing."""
    own = run.folder / "sft"
    if processes.broadcast(own.is_dir()):
        progress.stage("sft", "done before")
        return own
    cached = data.cache() / "stages" / f"sft-{context.sft_key()[:16]}"
    if processes.broadcast(cached.is_dir()):
        run.unlog("sft", -1)
        progress.stage("sft", "taken from the cache: it does not depend on the policy")
        for step, value in json.loads((cached / "stage.json").read_text(encoding="utf-8")).get("validation", []):
            run.log("sft", step, {"validation_log_likelihood": value})
    else:
        _train_sft(context, run, progress, cached)

    def copy() -> Path:
        part = run.checkpoints / "sft-copy"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(cached, part)
        return part.rename(own)

    return processes.on_main(copy)


def _train_sft(context: RunContext, run: Run, progress: Progress, cached: Path) -> None:
    """Trains the SFT model and saves it in the cache."""
    config, k, view = context.config, context.k, context.view
    training, log = _start(context, run, "sft", progress)
    progress.stage("sft", f"{config.sft.steps:,} steps at most{_from(training)}")
    new = None if context.warm_start is None else context.warm_start.first_new(view)
    rows = sft.training_rows(view, context.split, k, config.sft.steps * config.sft.batch, config.seed, new)
    rows = sft.subsampled_history(context.answered(rows), config.prompt.min_history_fraction, config.seed)
    rows = sft.shuffled_labels(rows, config.seed)
    prompts, completions = context.prompter.prompts(rows), context.prompter.completions(rows)
    held_out = context.held_out_for_sft()
    if is_large(view.items.rows):
        held_out = retrieval.with_candidates(held_out, [], view.items.rows, answered=True)
    with processes.main_process_first():  # it may have to be downloaded
        recommender = recommenders.init_recommender(
            context.model,
            config,
            view,
            context.split,
            k,
            texts=prompts + completions,
            shown=context.prompter.prompts(held_out),
            about=context.prompter.about(),
        )
    if context.warm_start is not None:
        context.warm_start.fine_tuning(recommender, context.earlier_model)
    progress.stage("sft", recommender.size())
    evaluator = Evaluator.of(recommender, context.prompter, None, held_out)

    def report(step: int, score: Score) -> None:
        log(step, {"validation_log_likelihood": score.value})
        progress.validated("sft", step, config.sft.steps, score)

    examples = sft.token_rows(recommender, prompts, completions, rows.history)
    best = sft.train(
        recommender,
        examples,
        config.sft,
        training,
        lambda: Score(0.0, evaluator.likelihood(recommender)),
        report,
        trained=context.warm_start is not None,
    )
    whole = sharding.whole(recommender.model)

    def save() -> None:
        values = [(x["step"], x["validation_log_likelihood"]) for x in run.logged() if x["stage"] == "sft"]
        with finished(cached) as folder:
            recommender.save(folder, whole)
            about = {"validation_log_likelihood": best.value, "validation": values, "of": context.sft_key()}
            write_json(folder / "stage.json", about)

    processes.on_main(save)


def _start(
    context: RunContext, run: Run, stage: str, progress: Progress
) -> tuple[Training, Callable[[int, Mapping[str, float]], None]]:
    """Returns the training of a stage, and a function that logs the values of a step in the run and its reports.

    Of the stage's lines in the log, only those up to the last checkpoint stay.
    """
    checkpoints = processes.on_main(lambda: Checkpoints.found(run.checkpoints / stage))
    run.unlog(stage, checkpoints.step)
    reporting = Reporting(context.config.report_to, run.folder, stage)

    def log(step: int, values: Mapping[str, float]) -> None:
        run.log(stage, step, values)
        reporting.report(values)

    return Training(checkpoints, reporting, context.config.seed, partial(progress.stage, stage)), log


def _from(training: Training) -> str:
    return f", going on after step {training.checkpoints.step:,}" if training.checkpoints.last else ""


def run_user_model(context: RunContext, before: recommenders.Recommender, run: Run, progress: Progress) -> UserModel:
    """Loads the user model of the run: the fine-tuned model and the classics, fitted now if the run has none yet."""
    if processes.broadcast((run.folder / user_model.FILE).is_file()):
        progress.stage("users", "user model fitted before")
    else:
        for note in context.limits():
            progress.stage("users", note)
        linear = linear_recommenders.fit(context.view, context.split, context.classics)
        fitted = user_model.fit(before, context.prompter, linear, context.held_out_for_sft())
        processes.on_main(lambda: fitted.save(run.folder))
        parts = sorted(zip(fitted.weights.tolist(), fitted.names, strict=True), reverse=True)
        weights = ", ".join(f"{name.replace('_', ' ')} {weight:.2f}" for weight, name in parts)
        progress.stage("users", f"chances of next items, by the weights {weights}")
    return user_model.load(run.folder, before, context.prompter)


def contexts(context: RunContext, fitted: UserModel) -> tuple[Rows, Contexts]:
    """Builds the rows and prompts of GRPO.

    With expected labels, a row is a user at the end of their training part, and a prompt shows a random part of their
    history. The label probabilities, the allowed items and the prior are those of the whole history. With real
    labels, the rows are sampled as for SFT. Of a large catalog the rows have candidates.
    """
    config, view, split = context.config, context.view, context.split
    settings = config.grpo
    count = settings.steps * settings.prompts_per_step
    if settings.labels == "real":
        rows = context.pooled(sft.training_rows(view, split, context.k, count, config.seed + 1))
        numbers = np.arange(count)
    else:
        large = is_large(view.items.rows)
        most = min(CONTEXTS // retrieval.CANDIDATES, count) if large else max(CONTEXTS // view.items.rows, 1)
        rows = context.pooled(endings(view, split).sample(most, config.seed))
        rng = np.random.default_rng(config.seed + 1)
        numbers = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-count // len(rows)))])[:count]
    rows = fitted.with_candidates(rows)
    shares = fitted.next_item_log_probs(rows)
    shown = sft.subsampled_history(rows.take(numbers), config.prompt.min_history_fraction, config.seed)
    prompts = context.prompter.prompts(shown)
    if settings.labels == "expected":
        following = context.expected_events(rows)
        rows = user_model.with_label_probabilities(rows, shares, following, order=context.compiled.needs_order)
    return rows, Contexts(prompts, numbers, user_model.prior(shares, context.k))


@dataclass
class _RunListener:
    """Logs the progress of GRPO in the run, and passes it on."""

    run: Run
    log: Callable[[int, Mapping[str, float]], None]
    progress: Progress
    steps: int
    seconds: list[list[float]] = field(default_factory=list)
    """Of each step: the whole, then PARTS."""

    def validated(self, step: int, score: Score) -> None:
        """Logs the score."""
        self.log(step, {"validation_reward": score.value, "validation_violation": score.violation})
        self.progress.validated("grpo", step, self.steps, score)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Logs what TRL logged, and collects the times."""
        self.run.log("grpo", step, values)
        self.progress.stepped(step, self.steps, values)
        self.seconds.append([values.get(key, 0.0) for key in ("step_time", *(f"time/{part}" for part in PARTS))])

    def targets_measured(self, step: int, result: ValidationResult, objectives: Objectives) -> None:
        """Logs the values, aims, multipliers and shadow prices of the targets."""
        targets = [
            TargetProgress(
                a.name, a.value, a.op, a.bound, a.aim, objectives.multipliers[a.name], objectives.shadow_price(a.name)
            )
            for a in result.aims
        ]
        for target in targets:
            values = {f"targets/{target.name}/{key}": v for key, v in asdict(target).items() if isinstance(v, float)}
            self.log(step, values)
        self.progress.targets_measured(step, targets)

    def times(self) -> str:
        """Returns the median seconds of a step and of its parts, in words."""
        whole, *parts = np.median(self.seconds, 0)
        shares = (f"{name} {part / whole:.1%}" for name, part in zip(PARTS, parts, strict=True))
        return f"a step took {whole:.2f} s: {', '.join(shares)}, the rest gradients"


def run_grpo(
    context: RunContext,
    recommender: recommenders.Recommender,
    fitted: UserModel,
    validation: Validation,
    run: Run,
    progress: Progress,
) -> str | None:
    """Trains the model in place by the policy's rewards and targets; returns why it was stopped early, if it was."""
    settings = context.config.grpo
    training, log = _start(context, run, "grpo", progress)
    plan = f"{settings.steps:,} steps of {settings.prompts_per_step} prompts x {settings.generations} slates"
    progress.stage("grpo", plan + _from(training))
    if reason := prefix_sharing.why_not(recommender.model):
        progress.stage("grpo", f"every completion runs its prompt anew, which takes several times longer: {reason}")
    rows, prompts = contexts(context, fitted)
    rewards = RewardComputer(context.compiled, rows, context.view.items.rows)
    listener = _RunListener(run, log, progress, settings.steps)
    trained = grpo.train(recommender, prompts, rewards, validation, context.config, training, listener)
    if listener.seconds:
        progress.stage("grpo", listener.times())
    if trained.stopped:
        progress.stage("grpo", f"stopped: {trained.stopped}; the best model so far is kept")
    return trained.stopped

"""Carries out the stages of a run: a fine-tuned model, a user model, and a model moved by the policy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from recpolicy import __version__, data
from recpolicy.analysis import feasibility
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Bools, Ints
from recpolicy.dataset.rows import Dataset, Rows, Slates, Split
from recpolicy.dataset.slates import unseen
from recpolicy.errors import PolicyError
from recpolicy.evaluation import baselines, metrics
from recpolicy.evaluation.baselines import Baseline
from recpolicy.evaluation.guardrail import is_guardrail
from recpolicy.evaluation.targets import Score, TargetProgress
from recpolicy.language.checker import Loaded
from recpolicy.rewards import RewardComputer
from recpolicy.runs import Run, fingerprint, finished, write_json
from recpolicy.trainer.config import Config
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.distributed import processes, sharding
from recpolicy.trainer.evaluation.evaluator import Examiner
from recpolicy.trainer.evaluation.validation import Validation, ValidationResult
from recpolicy.trainer.models import recommenders, user_model
from recpolicy.trainer.models.user_model import UserModel
from recpolicy.trainer.prompting import candidate_pools
from recpolicy.trainer.prompting.contexts import Contexts, endings
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.trainer.stages import grpo, sft
from recpolicy.trainer.stages.checkpoints import Checkpoints
from recpolicy.trainer.stages.objectives import Objectives
from recpolicy.trainer.stages.reporting import Reporting
from recpolicy.trainer.stages.training import Training
from recpolicy.user_model import sources

CONTEXTS = 100_000_000
"""Most (user, item) pairs that GRPO holds chances of."""

PARTS = {
    "time/sampling": "sampling",
    "time/rewards": "rewards",
    "time/advantages": "advantages",
    "time/loss": "loss",
}
"""Parts of a GRPO step whose seconds are logged, and what they are."""


class Progress(Protocol):
    """Who is told how a run goes on."""

    def stage(self, name: str, note: str) -> None:
        """A stage begins, was found done, or has something to say."""

    def validated(self, stage: str, step: int, steps: int, score: Score) -> None:
        """The model was measured on validation users."""

    def stepped(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """One GRPO step was taken; what TRL logged."""

    def targets_measured(self, step: int, targets: Sequence[TargetProgress]) -> None:
        """The policy's targets were measured and their multipliers moved."""


@dataclass(frozen=True)
class RunContext:
    """What every stage reads: the policy, the data and the settings of one run."""

    loaded: Loaded
    view: Dataset
    split: Split
    compiled: CompiledPolicy
    prompter: Prompter
    config: Config
    model: str

    @property
    def k(self) -> int:
        """Places of a slate."""
        return self.loaded.policy.slate

    def sft_key(self) -> str:
        """What the SFT model depends on; of the policy that is its number of places, and its words in the prompts."""
        settings = self.config.model_dump(include={"seed", "holdout", "prompt", "tiny", "llm", "sft"})
        said = (self.prompter.template, self.prompter.policy)
        model = recommenders.version(self.model)
        return fingerprint(__version__, version("trl"), model, self.view.digest, self.k, settings, *said)

    @cached_property
    def classics(self) -> dict[str, Baseline]:
        """The classic recommenders, fitted when they are first asked for."""
        return baselines.fit(self.view, self.split, self.k)

    def load(self, folder: Path) -> recommenders.Recommender:
        """The recommender that a stage of this run saved."""
        think, settings = self.config.prompt.longest_reasoning, self.config.llm
        return recommenders.load(folder, self.model, self.view.items.rows, self.k, think, settings)

    def held_out(self) -> Rows:
        """At most `validation_users` of the validation rows, drawn with the run's seed, with their pools."""
        return self.pooled(self._validation)

    def held_out_for_sft(self) -> Rows:
        """The same rows; their pools are the same whatever the policy blocks, as the SFT model is."""
        return self._drawn(self._validation, self._unseen)

    def pooled(self, rows: Rows) -> Rows:
        """The rows with the pools that their slates are chosen from, where the settings ask for pools."""
        return self._drawn(rows, self.compiled.servable)

    def expected_events(self, rows: Rows) -> Ints:
        """How many further items each row's user is taken to choose: as many as a split holds out of their events."""
        events = np.diff(self.view.start)[rows.user]
        return np.where(events >= 3 * self.split.holdout, self.split.holdout, 1)

    def answered(self, rows: Rows) -> Rows:
        """Rows of SFT with their pools, which hold what the user took next."""
        return self._drawn(rows, self._unseen, answered=True)

    def tested(self) -> Rows:
        """At most `test_users` of the test rows, drawn with the run's seed, with their pools."""
        return self.pooled(self.split.test.sample(self.config.test_users, self.config.seed))

    @property
    def _validation(self) -> Rows:
        return self.split.validation.sample(self.config.validation_users, self.config.seed)

    def _unseen(self, rows: Rows) -> Bools:
        return unseen(rows, self.view.items.rows)

    def _drawn(self, rows: Rows, servable: Callable[[Rows], Bools], *, answered: bool = False) -> Rows:
        settings = self.config.prompt
        if not settings.pool:
            return rows
        return candidate_pools.drawn(
            rows, self.classics["ease_recency"], servable, settings, self.config.seed, answered=answered
        )


def refuse_out_of_reach(context: RunContext, progress: Progress, baseline: Slates | None = None) -> None:
    """Try the targets on validation users before anything is trained for them; two that conflict are named.

    Without `baseline`, the slates of the validation rows that `of baseline` refers to, those whose bound does not
    depend on it; with it the others. Raises PolicyError for a target that the best lists found do not reach.
    """
    compiled, loaded, rows = context.compiled, context.loaded, context.held_out()
    means: dict[str, float] = {}
    if baseline is not None:
        values = compiled.target_values(rows, baseline)
        means = {name: metrics.mean(value) for name, value in values.items()} | compiled.population(rows, baseline)
    found = [
        feasibility.of_target(compiled, target, rows, means, seed=context.config.seed)
        for target in compiled.targets
        if target.target.of_baseline == (baseline is not None) and not is_guardrail(target.target.name)
    ]
    if refused := [r for r in found if r.within is False]:
        findings = (feasibility.finding(r, compiled, source=loaded.sources.get(r.target.name)) for r in refused)
        raise PolicyError(tuple(findings), loaded.source)
    for pair in feasibility.pairs(compiled, rows, found, seed=context.config.seed):
        if not pair.together:
            progress.stage("targets", pair.warning)


def run_sft(context: RunContext, run: Run, progress: Progress) -> Path:
    """The folder of the SFT model in the run, a copy of that in the cache, which is trained now if it is not there."""
    config, k, view, own = context.config, context.k, context.view, run.folder / "sft"
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
        training, tell = _begun(context, run, "sft", progress)
        progress.stage("sft", f"{config.sft.steps:,} steps at most{_from(training)}")
        rows = sft.training_rows(view, context.split, k, config.sft.steps * config.sft.batch, config.seed)
        rows = sft.shuffled(
            sft.thinned(context.answered(rows), config.prompt.min_history_fraction, config.seed), config.seed
        )
        prompts, completions = context.prompter.prompts(rows), context.prompter.completions(rows)
        held_out = context.held_out_for_sft()
        with processes.main_process_first():  # it may have to be downloaded
            recommender = recommenders.begun(
                context.model,
                config,
                view,
                context.split,
                k,
                texts=prompts + completions,
                shown=context.prompter.prompts(held_out),
                about=context.prompter.about(),
            )
        progress.stage("sft", recommender.size())
        examiner = Examiner.of(recommender, context.prompter, None, held_out)

        def score() -> Score:
            return Score(0.0, examiner.likelihood(recommender))

        def report(step: int, score: Score) -> None:
            tell(step, {"validation_log_likelihood": score.value})
            progress.validated("sft", step, config.sft.steps, score)

        examples = sft.token_rows(recommender, prompts, completions, rows.history)
        best = sft.train(recommender, examples, config.sft, training, score, report)
        whole = sharding.whole(recommender.model)

        def keep() -> None:
            lines = [line for line in run.logged() if line["stage"] == "sft"]
            measured = [(line["step"], line["validation_log_likelihood"]) for line in lines]
            with finished(cached) as folder:
                recommender.save(folder, whole)
                about = {"validation_log_likelihood": best.value, "validation": measured, "of": context.sft_key()}
                write_json(folder / "stage.json", about)

        processes.on_main(keep)

    def copied() -> Path:
        copy = run.checkpoints / "sft-copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(cached, copy)
        return copy.rename(own)

    return processes.on_main(copied)


def _begun(
    context: RunContext, run: Run, stage: str, progress: Progress
) -> tuple[Training, Callable[[int, Mapping[str, float]], None]]:
    """How a stage is trained, and how to put what was measured at a step into its reports and the run's log.

    Of its lines in the log those stay that lead to the checkpoint it goes on from.
    """
    checkpoints = processes.on_main(lambda: Checkpoints.found(run.checkpoints / stage))
    run.unlog(stage, checkpoints.step)
    reporting = Reporting(context.config.report_to, run.folder, stage)

    def tell(step: int, values: Mapping[str, float]) -> None:
        run.log(stage, step, values)
        reporting.tell(values)

    return Training(checkpoints, reporting, context.config.seed, partial(progress.stage, stage)), tell


def _from(training: Training) -> str:
    return f", going on after step {training.checkpoints.step:,}" if training.checkpoints.last else ""


def run_user_model(context: RunContext, before: recommenders.Recommender, run: Run, progress: Progress) -> UserModel:
    """The user model of the run, fitted now if it is not in the run folder: the fine-tuned model and the classics."""
    if processes.broadcast((run.folder / user_model.FILE).is_file()):
        progress.stage("users", "user model fitted before")
    else:
        memories = sources.fit(context.view, context.split, context.classics)
        fitted = user_model.fit(before, context.prompter, memories, context.held_out_for_sft())
        processes.on_main(lambda: fitted.save(run.folder))
        parts = sorted(zip(fitted.weights.tolist(), fitted.names, strict=True), reverse=True)
        weights = ", ".join(f"{name.replace('_', ' ')} {weight:.2f}" for weight, name in parts)
        progress.stage("users", f"chances of next items, by the weights {weights}")
    return user_model.load(run.folder, before, context.prompter)


def contexts(context: RunContext, fitted: UserModel) -> tuple[Rows, Contexts]:
    """Users as GRPO meets them, and its prompts.

    With expected labels every user stands at the end of their training part, and a prompt shows a random part of their
    history; what is likely next, what may be shown and the prior follow from the whole of it. With real labels the rows
    are those of SFT.
    """
    config, view, split = context.config, context.view, context.split
    settings = config.grpo
    count = settings.steps * settings.prompts_per_step
    if settings.labels == "real":
        rows = context.pooled(sft.training_rows(view, split, context.k, count, config.seed + 1))
        numbers = np.arange(count)
    else:
        rows = context.pooled(endings(view, split).sample(max(CONTEXTS // view.items.rows, 1), config.seed))
        rng = np.random.default_rng(config.seed + 1)
        numbers = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-count // len(rows)))])[:count]
    shares = fitted.log_shares(rows)
    prompts = context.prompter.prompts(sft.thinned(rows.take(numbers), config.prompt.min_history_fraction, config.seed))
    if settings.labels == "expected":
        following = context.expected_events(rows)
        rows = user_model.with_chances(rows, shares, following, order=context.compiled.needs_order)
    return rows, Contexts(prompts, numbers, user_model.prior(shares, context.k))


@dataclass
class _Watcher:
    """Writes what GRPO tells into the run, and tells it on."""

    run: Run
    tell: Callable[[int, Mapping[str, float]], None]
    progress: Progress
    steps: int
    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in ("step_time", *PARTS)})

    def validated(self, step: int, score: Score) -> None:
        self.tell(step, {"validation_reward": score.value, "validation_violation": score.violation})
        self.progress.validated("grpo", step, self.steps, score)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log("grpo", step, values)
        self.progress.stepped(step, self.steps, values)
        for part, spent in self.seconds.items():
            spent.append(values.get(part, 0.0))

    def targets_measured(self, step: int, standing: ValidationResult, objectives: Objectives) -> None:
        targets = [
            TargetProgress(
                a.name, a.value, a.op, a.bound, a.aim, objectives.multipliers[a.name], objectives.shadow_price(a.name)
            )
            for a in standing.aims
        ]
        for target in targets:
            told = {f"targets/{target.name}/{key}": v for key, v in asdict(target).items() if isinstance(v, float)}
            self.tell(step, told)
        self.progress.targets_measured(step, targets)

    def times(self) -> str:
        """Where a step's seconds went."""
        whole = float(np.median(self.seconds["step_time"]))
        shares = (f"{name} {np.median(self.seconds[part]) / whole:.1%}" for part, name in PARTS.items())
        return f"a step took {whole:.2f} s: {', '.join(shares)}, the rest gradients"


def run_grpo(
    context: RunContext,
    recommender: recommenders.Recommender,
    fitted: UserModel,
    validation: Validation,
    run: Run,
    progress: Progress,
) -> str | None:
    """Move the model by the policy's rewards and targets, in place; why it was stopped early, if it was."""
    view, compiled, settings = context.view, context.compiled, context.config.grpo
    training, tell = _begun(context, run, "grpo", progress)
    told = f"{settings.steps:,} steps of {settings.prompts_per_step} prompts x {settings.generations} slates"
    progress.stage("grpo", told + _from(training))
    if reason := prefix_sharing.why_not(recommender.model):
        progress.stage("grpo", f"every completion runs its prompt anew, which takes several times longer: {reason}")
    rows, asked = contexts(context, fitted)
    watcher = _Watcher(run, tell, progress, settings.steps)
    trained = grpo.train(
        recommender,
        asked,
        RewardComputer(compiled, rows, view.items.rows),
        validation,
        context.config,
        training,
        watcher,
    )
    if watcher.seconds["step_time"]:
        progress.stage("grpo", watcher.times())
    if trained.stopped:
        progress.stage("grpo", f"stopped: {trained.stopped}; the best model so far is kept")
    return trained.stopped

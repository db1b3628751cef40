"""A policy, a data set and settings in, a run folder with a trained and judged recommender out."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging as transformers_logging

from recpolicy import __version__, baselines, data, metrics
from recpolicy.baselines import Baseline
from recpolicy.checker import Loaded
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset import Dataset, Rows, Slates, Split
from recpolicy.errors import UsageError
from recpolicy.rerank import rerank
from recpolicy.rewards import Judge
from recpolicy.runs import Run, fingerprint, finished, write_json
from recpolicy.schema import ColumnSpec, Schema
from recpolicy.slate import unseen
from recpolicy.trainer import distil, evaluate, grpo, models, sft
from recpolicy.trainer.config import Config
from recpolicy.trainer.evaluate import Control, Examiner
from recpolicy.trainer.prompts import Prompter

MODELS = ("tiny",)

PARTS = {"time/sampling": "sampling", "time/rewards": "rewards", "time/ledger": "credit per rank"}
"""Parts of a GRPO step whose seconds are logged, and what they are."""


class Progress(Protocol):
    """Who is told how a run goes on."""

    def stage(self, name: str, note: str) -> None:
        """A stage begins, or was found done."""

    def validated(self, stage: str, step: int, steps: int, score: float) -> None:
        """The model was measured on validation users."""

    def stepped(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """One GRPO step was taken; what TRL logged."""


@dataclass(frozen=True)
class Material:
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
        """What the SFT model depends on; the policy is not part of it, but for the number of places."""
        settings = self.config.model_dump(include={"seed", "holdout", "prompt", "tiny", "sft"})
        return fingerprint(__version__, version("trl"), self.model, self.view.digest, self.k, settings)


def prepare(loaded: Loaded, source: str, model: str, config: Config) -> Material:
    """Read and split the data and compile the policy for it. Raises UsageError for data or a model of no use."""
    if model not in MODELS:
        raise UsageError(f"no model `{model}`", help=f"known: {', '.join(MODELS)}")
    dataset = data.open(source, loaded.schema, seed=config.seed)
    split = data.split(dataset, holdout=config.holdout)
    view = data.training_view(dataset, split)
    compiled = compile(loaded.policy, view)
    return Material(loaded, view, split, compiled, Prompter(view, config.prompt, loaded.policy.slate), config, model)


def train(loaded: Loaded, source: str, model: str, config: Config, out: Path, progress: Progress) -> dict[str, Any]:
    """Run every stage that has not been run before; returns the evaluation, which is also `eval.json`.

    The folder holds run.json, policy/, schema.json, metrics.jsonl, sft/, model/ (safetensors), samples.json and
    eval.json. The SFT model is shared between runs that differ only in their policy. Raises UsageError where `out`
    holds another run.
    """
    progress.stage("data", source)
    material = prepare(loaded, source, model, config)
    for note in material.split.notes:
        progress.stage("data", note)
    identity = {
        "policy": fingerprint(*(source.text for source in loaded.policy.sources)),
        "as_of": str(loaded.policy.as_of) if loaded.policy.as_of else None,
        "params": {param.name: param.written for param in loaded.policy.params},
        "schema": fingerprint(repr(loaded.schema)),
        "data": material.view.digest,
        "model": model,
        "config": config.model_dump(),
    }
    run = Run.start(out, identity)
    if (out / "eval.json").is_file():
        progress.stage("eval", f"{out} is complete: nothing to do")
        found: dict[str, Any] = json.loads((out / "eval.json").read_text(encoding="utf-8"))
        return found
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.jsonl").unlink(missing_ok=True)
    write_json(
        run.about, {"identity": identity, "source": source, "versions": _versions(), "notes": material.view.notes}
    )
    _write_policy(loaded, out / "policy")
    write_json(out / "schema.json", _schema(loaded.schema))
    transformers_logging.disable_progress_bar()

    fine_tuned = _sft(material, run, progress)
    before = models.load(fine_tuned, material.k, config.prompt.think, material.view.items.rows)
    held_out = _sample(material.split.validation, config)
    validation = Examiner.of(before, material.prompter, material.compiled, held_out)
    test = Examiner.of(before, material.prompter, material.compiled, material.split.test)
    control = Control.tuned(before, material.compiled, validation)
    classics = baselines.fit(material.view, material.split, material.k)
    after = models.load(fine_tuned, material.k, config.prompt.think, material.view.items.rows)
    taught = _distil(material, before, after, classics["ease_recency"], validation, test, run, progress)
    _grpo(material, after, validation, run, progress)
    after.save(out / "model")

    progress.stage("eval", f"{len(test.rows):,} users, {config.holdout} held-out events, greedy slates")
    slates, settings = evaluate.baseline_slates(classics, material.split, material.compiled)
    systems = {
        "sft": test.greedy(before),
        **taught,
        "grpo": test.greedy(after),
        "rerank": control.slates(test),
        **slates,
    }
    judged = evaluate.judge(
        systems,
        material.compiled,
        material.view,
        material.split,
        seed=config.seed,
        settings={**settings, "rerank": {"mu": control.mu}},
    )
    judged["rerank_sweep"] = control.sweep
    write_json(out / "samples.json", _samples(test, before, after))
    write_json(out / "eval.json", judged)
    return judged


def _sft(material: Material, run: Run, progress: Progress) -> Path:
    """The folder of the SFT model, from the cache or trained now; a copy stands in the run."""
    config, k, view = material.config, material.k, material.view
    cached = data.cache() / "stages" / f"sft-{material.sft_key()[:16]}"
    if cached.is_dir():
        progress.stage("sft", "taken from the cache: it does not depend on the policy")
    else:
        progress.stage("sft", f"{config.sft.steps:,} steps at most")
        rows = sft.training_rows(view, material.split, k, config.sft.steps * config.sft.batch, config.seed)
        rows = sft.shuffled(sft.thinned(rows, config.prompt.kept, config.seed), config.seed)
        prompts, completions = material.prompter.prompts(rows), material.prompter.completions(rows)
        tokenizer = models.word_tokenizer(prompts + completions, view.items.rows)
        form = models.answer_format(tokenizer, view.items.rows, k, config.prompt.think)
        longest = max(len(p.split()) for p in prompts) + config.prompt.history + form.longest  # words are tokens
        model = models.tiny(config.tiny, tokenizer, longest, config.seed)
        models.start_from_tastes(model, form, view, material.split)
        recommender = models.Recommender(model, tokenizer, form)
        validation = _sample(material.split.validation, config)
        examiner = Examiner.of(recommender, material.prompter, None, validation)

        def score() -> float:
            return float(np.nanmean(metrics.accuracy("ndcg", validation, examiner.greedy(recommender))))

        def report(step: int, value: float) -> None:
            run.log("sft", step, {"validation_ndcg": value})
            progress.validated("sft", step, config.sft.steps, value)

        with finished(cached) as folder:
            best = sft.train(
                recommender,
                sft.token_rows(recommender, prompts, completions),
                config.sft,
                config.seed,
                folder,
                score,
                report,
            )
            recommender.save(folder)
            write_json(folder / "stage.json", {"validation_ndcg": best, "of": material.sft_key()})
    shutil.copytree(cached, run.folder / "sft", dirs_exist_ok=True)
    return run.folder / "sft"


def _distil(
    material: Material,
    before: models.Recommender,
    recommender: models.Recommender,
    ease: Baseline,
    validation: Examiner,
    test: Examiner,
    run: Run,
    progress: Progress,
) -> dict[str, Slates]:
    """Teach the SFT model's own knowledge, and EASE's, to its answers, in place; test slates of teacher and pupil."""
    config, compiled = material.config, material.compiled
    settings = config.distil
    if not settings.steps:
        return {}
    rows = validation.rows
    teacher = distil.Teacher(before, ease).tuned(rows, validation.prompts, validation.legal, material.k)
    items, scores = distil.likeliest(teacher.scores(rows, validation.prompts, validation.legal))
    mu = evaluate.sweep(items, scores, rows, compiled)[0]
    told = f"EASE {teacher.share:.0%} of the teacher, policy x {mu:g}"
    progress.stage("distil", f"{settings.steps:,} steps; {told}, both as validation has it")
    count = settings.steps * settings.batch
    lessons = distil.lesson_rows(material.view, material.split, count, config.prompt.kept, config.seed)

    def score() -> float:
        return float(compiled.total(rows, validation.greedy(recommender)).mean())

    def report(step: int, value: float) -> None:
        run.log("distil", step, {"validation_reward": value})
        progress.validated("distil", step, settings.steps, value)

    distil.train(
        recommender,
        distil.Lessons(teacher, compiled, mu, material.prompter, lessons, settings.temperature),
        settings,
        config.seed,
        run.folder / "model",
        score,
        report,
    )
    items, scores = distil.likeliest(teacher.scores(test.rows, test.prompts, test.legal))
    return {"teacher": rerank(items, scores, test.rows, compiled, mu), "distilled": test.greedy(recommender)}


def _grpo(
    material: Material, recommender: models.Recommender, validation: Examiner, run: Run, progress: Progress
) -> None:
    """Move the SFT model by the policy's rewards, in place."""
    config, view, compiled = material.config, material.view, material.compiled
    settings = config.grpo
    progress.stage("grpo", f"{settings.steps:,} steps of {settings.prompts} prompts x {settings.generations} slates")
    rows = sft.training_rows(view, material.split, material.k, settings.steps * settings.prompts, config.seed + 1)

    def legal(at: Tensor) -> Tensor:
        of = rows.take(at.numpy())
        return torch.from_numpy(compiled.legal(of) & unseen(of, view.items.rows))

    def score() -> float:
        return float(compiled.total(validation.rows, validation.greedy(recommender)).mean())

    def validated(step: int, value: float) -> None:
        run.log("grpo", step, {"validation_reward": value})
        progress.validated("grpo", step, settings.steps, value)

    seconds: dict[str, list[float]] = {part: [] for part in ("step_time", *PARTS)}

    def stepped(step: int, values: Mapping[str, float]) -> None:
        run.log("grpo", step, values)
        progress.stepped(step, settings.steps, values)
        for part, spent in seconds.items():
            spent.append(values.get(part, 0.0))

    grpo.train(
        recommender,
        material.prompter.prompts(sft.thinned(rows, config.prompt.kept, config.seed)),
        Judge(compiled, rows, view.items.rows),
        legal,
        config,
        run.folder / "model",
        score,
        validated,
        stepped,
    )
    whole = float(np.median(seconds["step_time"]))
    shares = (f"{name} {np.median(seconds[part]) / whole:.1%}" for part, name in PARTS.items())
    progress.stage("grpo", f"a step took {whole:.2f} s: {', '.join(shares)}, the rest the loss")


def _sample(rows: Rows, config: Config) -> Rows:
    """At most `validation_users` of the rows, drawn with the run's seed."""
    if len(rows) <= config.validation_users:
        return rows
    return rows.take(np.sort(np.random.default_rng(config.seed).permutation(len(rows))[: config.validation_users]))


def _samples(test: Examiner, before: models.Recommender, after: models.Recommender) -> list[dict[str, str]]:
    """What both models say to the first test users, in full."""
    few = Examiner(test.rows.take(np.arange(min(5, len(test.rows)))), test.prompts[:5], test.legal[:5])
    spoken = [[t for c in few.completions(r) for t in r.tokenizer.batch_decode(c)] for r in (before, after)]
    return [
        {"prompt": prompt, "sft": a, "grpo": b}
        for prompt, a, b in zip(before.tokenizer.batch_decode(few.prompts), *spoken, strict=True)
    ]


def _write_policy(loaded: Loaded, folder: Path) -> None:
    """The policy's file and those it uses, lying to each other as they did."""
    for source in loaded.policy.sources:
        own = Path(source.name)
        path = folder / (own.relative_to(loaded.folder) if own.is_relative_to(loaded.folder) else own.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.text, encoding="utf-8")


def _schema(schema: Schema) -> dict[str, Any]:
    """The schema as used, for people and other programs."""

    def column(spec: ColumnSpec) -> dict[str, Any]:
        return {
            "type": spec.type.value,
            "optional": spec.optional,
            "role": spec.role.value if spec.role else None,
            "source": spec.source,
            "derived": spec.derived.value if spec.derived else None,
        }

    return {
        "name": schema.name,
        "now": schema.now,
        "item": {name: column(spec) for name, spec in schema.item.items()},
        "user": {name: column(spec) for name, spec in schema.user.items()},
    }


def _versions() -> dict[str, str]:
    packages = ("torch", "transformers", "trl", "peft", "lark", "numpy", "datasets", "accelerate")
    return {"recpolicy": __version__, "python": platform.python_version()} | {p: version(p) for p in packages}

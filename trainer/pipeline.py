"""A policy, a data set and settings in, a run folder with a trained and judged recommender out."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from transformers.utils import logging as transformers_logging

from recpolicy import __version__, data, words
from recpolicy.checker import Loaded
from recpolicy.compiler import compile
from recpolicy.dataset import Dataset, Slates
from recpolicy.errors import PolicyError, UsageError
from recpolicy.runs import Run, fingerprint, located, write_json
from recpolicy.schema import BUILTIN, Schema
from recpolicy.table import Ints, Ragged
from recpolicy.trainer import evaluate, models, pool, pretrained, processes, sharding, stages, thinking
from recpolicy.trainer.config import Config
from recpolicy.trainer.control import MUS, best_swept, swept
from recpolicy.trainer.evaluate import Examiner
from recpolicy.trainer.prompts import Prompter
from recpolicy.trainer.reporting import refuse_missing
from recpolicy.trainer.stages import Material, Progress
from recpolicy.trainer.validation import Validation

SAMPLES = 5
"""Users for whom the run keeps what both models say."""

SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)
"""Writes and reads `schema.json`."""


def prepare(loaded: Loaded, source: str, model: str, config: Config) -> Material:
    """Read and split the data and compile the policy for it.

    Raises UsageError for data, a model or a prompt template of no use, and for pools smaller than a slate or larger
    than the catalog.
    """
    with processes.first_ahead():  # it may have to be downloaded
        dataset = data.open(source, loaded.schema, seed=config.seed)
    split = data.split(dataset, holdout=config.holdout)
    view = data.training_view(dataset, split)
    compiled = compile(loaded.policy, view)
    k, settings = loaded.policy.slate, config.prompt
    if 0 < settings.pool < k:
        message = f"a pool of {settings.pool} items is too small for slates of {k} places"
        raise UsageError(message, help=f"give --pool (`prompt.pool`) {k} or more; 0 is the whole catalog")
    if settings.pool > view.items.rows:
        message = f"a pool of {settings.pool:,} items is more than the {view.items.rows:,} items of {view.name}"
        raise UsageError(message, help="leave out --pool (`prompt.pool = 0`): then lists are of the whole catalog")
    material = Material(loaded, view, split, compiled, prompter(loaded, view, model, config), config, model)
    material.prompter.prompts(split.validation.take(np.arange(1)))  # a template of no use is refused before training
    return material


def prompter(loaded: Loaded, view: Dataset, model: str, config: Config) -> Prompter:
    """What puts the users of a data set into words as the run's model reads them."""
    said = words.instruction(loaded.policy) if config.prompt.policy else ""
    return Prompter(view, config.prompt, loaded.policy.slate, models.speech(model), said)


def train(
    loaded: Loaded, source: str, model: str, config: Config, out: Path, progress: Progress, *, resume: bool
) -> dict[str, Any]:
    """Run every stage; returns the evaluation, which is also `eval.json`.

    The folder holds run.json, policy/, schema.json, items.json, metrics.jsonl, sft/, model/ (safetensors),
    samples.json and eval.json; while the run goes on, checkpoints/. With `resume` a run that was killed goes on from
    the last of these, and ends as it would have. The SFT model is shared between runs that differ only in their policy.
    Raises UsageError where `out` holds another run, or one that was begun and is not to be resumed.
    """
    refuse_missing(config.report_to)
    source, model = located(source, BUILTIN), located(model, models.NAMES)
    progress.stage("data", source)
    if model != models.TINY:
        progress.stage("model", f"{model}, from {pretrained.origin(model)}")
    material = prepare(loaded, source, model, config)
    for note in material.split.notes:
        progress.stage("data", note)
    identity: dict[str, Any] = {
        "policy": fingerprint(*(source.text for source in loaded.policy.sources)),
        "as_of": str(loaded.policy.as_of) if loaded.policy.as_of else None,
        "params": {param.name: param.written for param in loaded.policy.params},
        "schema": fingerprint(repr(loaded.schema)),
        "data": material.view.digest,
        "model": model,
        "config": config.model_dump(exclude={"report_to"}),
    }
    if processes.sharded():
        identity["sharded"] = processes.count()  # checkpoints hold what each process has
        if config.grpo.beta:
            message = f"grpo.beta is {config.grpo.beta:g}, and with FSDP there is no second model to diverge from"
            raise UsageError(message, help="set it to 0, or use plain processes (examples/accelerate/gpus.yaml)")
    run = replace(processes.once(lambda: Run.start(out, identity, resume=resume)), writes=processes.first())
    if processes.agreed(run.complete):
        processes.once(lambda: shutil.rmtree(run.checkpoints, ignore_errors=True))
        progress.stage("eval", f"{out} is complete: nothing to do")
        found: dict[str, Any] = json.loads(run.evaluation.read_text(encoding="utf-8"))
        return found
    if resume:
        progress.stage("data", _resumption(run))
    if config.prompt.pool:
        progress.stage("pool", f"{config.prompt.pool:,} items to choose from; fitting the retriever")
        known = pool.recall(material.held_out())
        progress.stage("pool", f"they hold {known:.0%} of what validation users took next")
    stages.refuse_out_of_reach(material, progress)
    fresh = not processes.agreed(run.begun)
    processes.once(lambda: _describe(run, identity, source, material))
    transformers_logging.disable_progress_bar()

    try:
        fine_tuned = stages.fine_tune(material, run, progress)
    except UsageError:
        if fresh and processes.first():  # what was asked will come back changed
            shutil.rmtree(out)
        raise
    before = material.load(fine_tuned)
    held_out = Examiner.of(before, material.prompter, material.compiled, material.held_out())
    test = Examiner.of(before, material.prompter, material.compiled, material.tested())
    validation = Validation(material.compiled, held_out, held_out.greedy(before), len(test.rows), config.seed)
    try:
        stages.refuse_out_of_reach(material, progress, validation.baseline)
    except PolicyError:
        # the fine-tuned model is in the cache, and the policy will come back changed
        processes.once(lambda: shutil.rmtree(out))
        raise
    candidates, likely = test.candidates(before)
    control, standings = best_swept(*held_out.candidates(before), validation)
    after = material.load(fine_tuned)
    taught = stages.teach(material, before, after, validation, test, run, progress)
    stopped = stages.reinforce(material, after, validation, run, progress)
    whole = sharding.whole(after.model)
    processes.once(lambda: after.save(out / "model", whole))

    progress.stage("eval", f"{len(test.rows):,} users, {config.holdout} held-out events, greedy slates")
    slates, settings = evaluate.baseline_slates(material.classics, test.rows, material.compiled)
    then, now = (thinking.said(recommender, test) for recommender in (before, after))
    systems = {
        "sft": then.slates,
        "sft_first": Slates(np.where(np.isfinite(likely), candidates, np.int32(-1))[:, : material.k]),
        **taught,
        "grpo": now.slates,
        "rerank": control.slates(candidates, likely, test.rows),
        **slates,
    }
    judged = evaluate.judge(
        systems,
        material.compiled,
        material.view,
        test.rows,
        seed=config.seed,
        settings={**settings, "rerank": {"mu": control.mu}},
        curve={r.mu: r.slates(candidates, likely, test.rows) for r in swept(material.compiled)},
    )
    judged["rerank_sweep"] = [
        {"mu": mu, "reward": standing.reward, "lack": -standing.score.keeps}
        for mu, standing in zip(MUS, standings, strict=True)
    ]
    judged["split"] = {"holdout": material.split.holdout, "notes": list(material.split.notes)}
    judged["thinking"] = thinking.worth(after, test, now, then, config.seed)
    judged["stopped"] = stopped
    judged["pool"] = config.prompt.pool
    asked = before.tokenizer.batch_decode(test.prompts[:SAMPLES])
    samples = [{"prompt": p, "sft": a, "grpo": b} for p, a, b in zip(asked, then.texts, now.texts, strict=False)]
    processes.once(lambda: _conclude(run, samples, judged))
    return judged


def _describe(run: Run, identity: Mapping[str, Any], source: str, material: Material) -> None:
    """Write down what the run is of."""
    loaded = material.loaded
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the run folder cannot be made: {error.strerror}", where=str(run.folder)) from error
    about = {"identity": identity, "source": source, "policy": Path(loaded.source.name).name}
    write_json(run.about, {**about, "versions": _versions(), "notes": material.view.notes})
    _write_policy(loaded, run.folder / "policy")
    write_json(run.folder / "schema.json", SCHEMA.dump_python(loaded.schema, mode="json"))
    events = _training_events(material).tolist()
    write_json(run.folder / "items.json", {"ids": material.view.item_ids, "events": events})


def _conclude(run: Run, samples: list[dict[str, str]], judged: Mapping[str, Any]) -> None:
    """Write down what came of it; the evaluation, last, makes the run complete."""
    write_json(run.folder / "samples.json", samples)
    write_json(run.evaluation, judged)
    shutil.rmtree(run.checkpoints)


def _training_events(material: Material) -> Ints:
    """How many training events each item has, [items]."""
    view = material.view
    events = Ragged.slices(view.item, view.start[:-1], material.split.train_end)
    return np.bincount(events.values, minlength=view.items.rows)


def _resumption(run: Run) -> str:
    """What going on with a run comes to."""
    if not run.begun:
        return f"{run.folder} holds no run to go on with: it begins"
    then, now = run.read()["versions"], _versions()
    other = ", ".join(f"{name} {then.get(name)}" for name in now if then.get(name) != now[name])
    return f"going on with {run.folder}" + (f", begun with {other}: it may end a little otherwise" if other else "")


def _write_policy(loaded: Loaded, folder: Path) -> None:
    """The policy's file and those it uses, lying to each other as they did."""
    for source in loaded.policy.sources:
        own = Path(source.name)
        path = folder / (own.relative_to(loaded.folder) if own.is_relative_to(loaded.folder) else own.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.text, encoding="utf-8")


def _versions() -> dict[str, str]:
    packages = ("torch", "transformers", "trl", "peft", "lark", "numpy", "datasets", "accelerate")
    return {"recpolicy": __version__, "python": platform.python_version()} | {p: version(p) for p in packages}

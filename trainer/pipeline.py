"""Runs all stages of a training: from a policy, a data set and settings to a run folder with an evaluated model."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from transformers.utils import logging as transformers_logging

from recpolicy import __version__, data, explain
from recpolicy.compiler import compile
from recpolicy.dataset.columns import Ragged, none
from recpolicy.dataset.rows import Dataset, Rows, Slates, Split
from recpolicy.errors import PolicyError, UsageError
from recpolicy.evaluation.baselines import top
from recpolicy.evaluation.guardrail import guarded
from recpolicy.evaluation.linear import Scores
from recpolicy.language.checker import Loaded
from recpolicy.runs import Run, fingerprint, located, write_json
from recpolicy.schema import BUILTIN, Schema
from recpolicy.search import expected
from recpolicy.trainer import run_stages
from recpolicy.trainer.config import Config
from recpolicy.trainer.distributed import processes, sharding
from recpolicy.trainer.earlier_run import EarlierRun, WarmStart, policy_identity
from recpolicy.trainer.evaluation import evaluator, reasoning
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.evaluation.reasoning import Answers
from recpolicy.trainer.evaluation.rerank_control import RerankControl, tune
from recpolicy.trainer.evaluation.validation import Validation
from recpolicy.trainer.models import pretrained, recommenders, user_model
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.models.user_model import UserModel
from recpolicy.trainer.prompting import candidate_pools
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.trainer.run_context import RunContext
from recpolicy.trainer.run_stages import Progress
from recpolicy.trainer.stages.reporting import refuse_missing

SAMPLES = 5
"""Number of users whose answers by both models the run keeps."""

SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)
"""Writes and reads `schema.json`."""


def prepare(loaded: Loaded, source: str, model: str, config: Config, earlier: EarlierRun | None = None) -> RunContext:
    """Reads and splits the data, and compiles the policy for it.

    The items of an `earlier` run, from which this one goes on, have the numbers that they have there, and the settings
    have fewer steps. Raises UsageError for data, a model or a prompt template that cannot be used, and for pools
    smaller than a slate or larger than the catalog.
    """
    with processes.main_process_first():  # it may have to be downloaded
        dataset = data.open(source, loaded.schema, seed=config.seed)
    catalog = None if earlier is None else data.aligned(dataset, earlier.items)
    dataset = dataset if catalog is None else catalog.dataset
    split = data.split(dataset, config.split, holdout=config.holdout)
    view = data.training_view(dataset, split)
    compiled = guarded(compile(loaded.policy, view))
    config = config.of_model(model != recommenders.TINY)
    warm_start = None
    if earlier is not None and catalog is not None:
        compiled = replace(compiled, present=catalog.present)
        warm_start = WarmStart.of(earlier, replace(catalog, dataset=view), split)
        config = warm_start.shortened(config)
    k, settings = loaded.policy.slate, config.prompt
    if 0 < settings.pool < k:
        message = f"a pool of {settings.pool} items is too small for slates of {k} places"
        raise UsageError(message, help=f"give --pool (`prompt.pool`) {k} or more; 0 is the whole catalog")
    if settings.pool > view.items.rows:
        message = f"a pool of {settings.pool:,} items is more than the {view.items.rows:,} items of {view.name}"
        raise UsageError(message, help="leave out --pool (`prompt.pool = 0`): then lists are of the whole catalog")
    prompts = prompter(loaded, view, model, config)
    context = RunContext(loaded, view, split, compiled, prompts, config, model, warm_start)
    context.prompter.prompts(split.validation.take(np.arange(1)))  # raises for a bad template before training
    return context


def prompter(loaded: Loaded, view: Dataset, model: str, config: Config) -> Prompter:
    """Returns what writes the prompts of a data set's users for the run's model."""
    instruction = explain.instruction(loaded.policy) if config.prompt.policy else ""
    return Prompter(view, config.prompt, loaded.policy.slate, recommenders.prompt_style(model), instruction)


def train(
    loaded: Loaded,
    source: str,
    model: str,
    config: Config,
    out: Path,
    progress: Progress,
    *,
    resume: bool,
    start: Path | None = None,
) -> dict[str, Any]:
    """Runs every stage and returns the evaluation, which is also written as `eval.json`.

    The folder holds run.json, policy/, schema.json, items.json, users.json, metrics.jsonl, sft/, model/,
    user_model.safetensors, samples.json and eval.json; during the run also checkpoints/. With `resume`, a run that was
    killed goes on from the last checkpoint, with the same result. Runs that differ only in their policy share the SFT
    model. With `start`, the folder of a finished run, training goes on from that run's models in fewer steps.
    Raises UsageError if `out` holds another run, or an unfinished one without `resume`, and for a `start` that does not
    fit.
    """
    refuse_missing(config.report_to)
    source, model = located(source, BUILTIN), located(model, recommenders.NAMES)
    progress.stage("data", source)
    if model != recommenders.TINY:
        progress.stage("model", f"{model}, from {pretrained.origin(model)}")
    began, config = time.monotonic(), config.of_model(model != recommenders.TINY)
    earlier = None if start is None else EarlierRun.read(start, loaded, model, config)
    context = prepare(loaded, source, model, config, earlier)
    if context.warm_start is not None:
        context = replace(context, split=context.warm_start.unlearned(context.split))
    for note in context.split.notes:
        progress.stage("data", note)
    identity: dict[str, Any] = {
        **policy_identity(loaded),
        "as_of": str(loaded.policy.as_of) if loaded.policy.as_of else None,
        "schema": fingerprint(repr(loaded.schema)),
        "data": context.view.digest,
        "model": model,
        "config": config.model_dump(exclude={"report_to"}),
    }
    if earlier is not None:
        identity["earlier run"] = earlier.digest
    if processes.sharded():
        identity["sharded"] = processes.count()  # checkpoints hold each process's part
    run = replace(processes.on_main(lambda: Run.start(out, identity, resume=resume)), writes=processes.is_main())
    if processes.broadcast(run.complete):
        processes.on_main(lambda: shutil.rmtree(run.checkpoints, ignore_errors=True))
        progress.stage("eval", f"{out} is complete: nothing to do")
        complete: dict[str, Any] = json.loads(run.evaluation.read_text(encoding="utf-8"))
        return complete
    if resume:
        progress.stage("data", _resumption(run))
    if config.prompt.pool:
        progress.stage("pool", f"{config.prompt.pool:,} items to choose from; fitting the retriever")
        recall = candidate_pools.recall(context.held_out())
        progress.stage("pool", f"they hold {recall:.0%} of what validation users took next")
    run_stages.refuse_out_of_reach(context, progress)
    fresh = not processes.broadcast(run.begun)
    processes.on_main(lambda: _describe(run, identity, source, context))
    transformers_logging.disable_progress_bar()

    try:
        fine_tuned = run_stages.run_sft(context, run, progress)
    except UsageError:
        if fresh and processes.is_main():  # the user will start it again, with other settings
            shutil.rmtree(out)
        raise
    before = context.load(fine_tuned)
    users = run_stages.run_user_model(context, before, run, progress)
    held_out, test = (_evaluator(context, before, users, rows) for rows in (context.held_out(), context.tested()))
    labels = _with_label_probabilities(context, users.next_item_log_probs(held_out.rows), held_out.rows)
    held_out = replace(held_out, rows=labels)
    final = replace(test, rows=replace(test.rows, next_items=none(len(test.rows))))
    if context.split.test_from is not None:  # who takes something later is not known either
        final = _evaluator(context, before, users, context.before_test())
    validation = Validation(
        context.compiled,
        held_out,
        held_out.greedy(before),
        len(test.rows),
        config.seed,
        final,
        final.greedy(before),
    )
    try:
        run_stages.refuse_out_of_reach(context, progress, validation.baseline)
    except PolicyError:
        # the fine-tuned model is in the cache, and the user will change the policy
        processes.on_main(lambda: shutil.rmtree(out))
        raise
    after = context.load(fine_tuned)
    if context.warm_start is not None:
        context.warm_start.policy_training(after, context.load)
    stopped = run_stages.run_grpo(context, after, users, validation, run, progress)
    whole = sharding.whole(after.model)
    processes.on_main(lambda: after.save(out / "model", whole))
    seconds = time.monotonic() - began
    evaluation, then, now = _evaluate(context, before, after, users, validation, test, progress)
    evaluation["stopped"] = stopped
    if context.warm_start is not None:
        evaluation["warm_start"] = {**_warm_start(context), "seconds": seconds}
    prompts = before.tokenizer.batch_decode(test.prompts[:SAMPLES])
    samples = [{"prompt": p, "sft": a, "grpo": b} for p, a, b in zip(prompts, then.texts, now.texts, strict=False)]
    processes.on_main(lambda: _conclude(run, samples, evaluation))
    return evaluation


def _evaluator(context: RunContext, recommender: Recommender, users: UserModel, rows: Rows) -> Evaluator:
    """Returns the evaluator of the rows, with the prior of the user model and, of a large catalog, its candidates."""
    rows = users.with_candidates(rows)
    prior = user_model.prior(users.next_item_log_probs(rows), context.k)
    return Evaluator.of(recommender, context.prompter, context.compiled, rows, prior)


def _evaluate(
    context: RunContext,
    before: Recommender,
    after: Recommender,
    users: UserModel,
    validation: Validation,
    test: Evaluator,
    progress: Progress,
) -> tuple[dict[str, Any], Answers, Answers]:
    """Computes `eval.json`, and the answers of the models before and after GRPO to the test users."""
    config, compiled, rows = context.config, context.compiled, test.rows
    progress.stage("eval", f"{len(rows):,} users, at most {context.split.holdout} held-out events each, greedy slates")
    classics = user_model.fit(None, context.prompter, users.linear, context.held_out_for_sft())
    held_out = validation.evaluator  # valued by the run's user model already
    log_probs = users.next_item_log_probs(rows)
    controls = {
        "rerank": _control(context, log_probs, test),
        "ease_rerank": _control(context, classics.next_item_log_probs(rows), test),
    }
    tried = {
        "rerank": RerankControl(compiled, held_out.rows, held_out.legal),
        "ease_rerank": _control(context, classics.next_item_log_probs(held_out.rows), held_out),
    }
    final = controls
    if context.split.test_from is not None:
        assert validation.final is not None
        by = {"rerank": users, "ease_rerank": classics}
        last = validation.final.rows
        final = {name: _control(context, of.next_item_log_probs(last), validation.final) for name, of in by.items()}
    tuned = {name: tune(control, final[name], validation) for name, control in tried.items()}
    on_test = {name: {s: control.slates(s) for s in tuned[name][1]} for name, control in controls.items()}
    strength = {name: best for name, (best, _) in tuned.items()}
    plain = replace(test, prior=None)
    then, now = (reasoning.answers(recommender, test) for recommender in (before, after))
    reranked = controls["rerank"]
    guided = expected.slates(reranked.rows, test.legal, reranked.objective(strength["rerank"]), start=now.slates)
    slates, settings = evaluator.baseline_slates(context.classics, rows, compiled)
    if context.warm_start is not None:
        slates["before"] = _earlier_slates(context)
    strengths = {**strength, "grpo_guided": strength["rerank"]}
    systems = {
        "sft": plain.greedy(before),
        "prior": then.slates,
        "grpo": now.slates,
        "grpo_guided": guided,
        **{name: on_test[name][best] for name, best in strength.items()},
        "user_model": top(log_probs, rows, context.k, test.legal),
        **slates,
    }
    evaluation = evaluator.evaluate_systems(
        systems,
        compiled,
        context.view,
        rows,
        seed=config.seed,
        settings={**settings, **{name: {"strength": best} for name, best in strengths.items()}},
        curves=on_test,
    )
    evaluation["tuning"] = {
        name: [
            {"strength": s, "reward": result.reward, "violation": result.score.violation}
            for s, result in results.items()
        ]
        for name, (_, results) in tuned.items()
    }
    evaluation["user_model"] = user_model.assess(users, context.held_out_for_sft(), rows, config.seed)
    evaluation["split"] = _described(context.split)
    evaluation["thinking"] = reasoning.reasoning_value(after, test, now, then, config.seed)
    evaluation["pool"] = config.prompt.pool
    evaluation["limits"] = list(context.limits())
    return evaluation, then, now


def _earlier_slates(context: RunContext) -> Slates:
    """Returns greedy slates of the earlier run's model for the test users, as it would have served them."""
    earlier, slates = context.earlier_model, []
    for _, rows in context.tested().batches(evaluator.BATCH):
        if not len(earlier.catalog.arrived):  # an arrival is never among the candidates
            rows = earlier.users.with_candidates(rows)
        prior = user_model.prior(earlier.next_item_log_probs(rows), context.k)
        part = Evaluator.of(earlier.recommender, context.prompter, context.compiled, rows, prior)
        slates.append(part.greedy(earlier.recommender).items)
    return Slates(np.concatenate(slates))


def _warm_start(context: RunContext) -> dict[str, Any]:
    """Where the run came from and how far it went, as `eval.json` has it."""
    assert context.warm_start is not None
    earlier, catalog = context.warm_start.earlier, context.warm_start.catalog
    return {
        "from": str(earlier.run.folder),
        "new_events": context.warm_start.new_events,
        "new_items": len(catalog.arrived),
        "gone_items": int((~catalog.present).sum()),
        "same_policy": earlier.same_policy,
        "steps": {"sft": context.config.sft.steps, "grpo": context.config.grpo.steps},
    }


def _described(split: Split) -> dict[str, Any]:
    """What was held out, as `eval.json` has it."""
    cuts = {"validation_from": split.validation_from, "test_from": split.test_from}
    return {"by": split.by, "holdout": split.holdout, **cuts, "notes": list(split.notes)}


def _control(context: RunContext, log_probs: Scores, evaluator: Evaluator) -> RerankControl:
    """Returns a control for the evaluator's users, by a user model's log-probabilities of their next item."""
    return RerankControl(
        context.compiled, _with_label_probabilities(context, log_probs, evaluator.rows), evaluator.legal
    )


def _with_label_probabilities(context: RunContext, log_probs: Scores, rows: Rows) -> Rows:
    """Returns the rows with label probabilities, by log-probabilities of the next item, [B, items]."""
    events, order = context.expected_events(rows), context.compiled.needs_order
    return user_model.with_label_probabilities(rows, log_probs, events, order=order)


def _describe(run: Run, identity: Mapping[str, Any], source: str, context: RunContext) -> None:
    """Writes what the run consists of: run.json, the policy, the schema and the items."""
    loaded, view = context.loaded, context.view
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the run folder cannot be made: {error.strerror}", where=str(run.folder)) from error
    about = {"identity": identity, "source": source, "policy": Path(loaded.source.name).name}
    if context.warm_start is not None:
        about["from"] = context.warm_start.earlier.record()
    write_json(run.about, {**about, "versions": _versions(), "notes": view.notes})
    _write_policy(loaded, run.folder / "policy")
    write_json(run.folder / "schema.json", SCHEMA.dump_python(loaded.schema, mode="json"))
    training = Ragged.slices(view.item, view.start[:-1], context.split.train_end)
    events = np.bincount(training.values, minlength=view.items.rows).tolist()
    write_json(run.folder / "items.json", {"ids": view.item_ids, "events": events})
    write_json(run.folder / "users.json", {"ids": view.user_ids, "events": training.lengths.tolist()})


def _conclude(run: Run, samples: list[dict[str, str]], evaluation: Mapping[str, Any]) -> None:
    """Writes the results; the evaluation comes last and makes the run complete."""
    write_json(run.folder / "samples.json", samples)
    write_json(run.evaluation, evaluation)
    shutil.rmtree(run.checkpoints)


def _resumption(run: Run) -> str:
    """Returns a note on how the run is resumed."""
    if not run.begun:
        return f"{run.folder} holds no run to go on with: it begins"
    then, now = run.read()["versions"], _versions()
    other = ", ".join(f"{name} {then.get(name)}" for name in now if then.get(name) != now[name])
    return f"going on with {run.folder}" + (f", begun with {other}: it may end a little otherwise" if other else "")


def _write_policy(loaded: Loaded, folder: Path) -> None:
    """Writes the policy's file and those it uses, in the same relative places."""
    for source in loaded.policy.sources:
        own = Path(source.name)
        path = folder / (own.relative_to(loaded.folder) if own.is_relative_to(loaded.folder) else own.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.text, encoding="utf-8")


def _versions() -> dict[str, str]:
    packages = ("torch", "transformers", "trl", "peft", "lark", "numpy", "datasets", "accelerate")
    return {"recpolicy": __version__, "python": platform.python_version()} | {p: version(p) for p in packages}

"""Profiles a policy on a run's fine-tuned model: what it would do in training from there."""

from __future__ import annotations

import json
from pathlib import Path

from transformers.utils import logging as transformers_logging

from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.evaluation import baselines, classics
from recpolicy.language.checker import Loaded
from recpolicy.profile.report import Profile, Rollouts, profile
from recpolicy.runs import Run
from recpolicy.trainer import pipeline
from recpolicy.trainer.config import recorded
from recpolicy.trainer.earlier_run import EarlierRun
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models import user_model
from recpolicy.trainer.run_context import RunContext

USERS = 200
"""Number of validation users in a profile, at most."""


def of_run(loaded: Loaded, run: Run) -> tuple[Profile, Dataset]:
    """Samples slates of validation users from the SFT model of a run, and returns their profile and the data.

    The run may be unfinished. If it has come that far, the model has the prior that it is trained with. Data, seed and
    settings are the run's; the policy may be another one with as many places. Raises UsageError for a folder without a
    run or a fine-tuned model, for data that are not the run's, and for a policy that the model is not for.
    """
    transformers_logging.disable_progress_bar()
    about = run.read()
    identity = about["identity"]
    config = recorded(run)
    context = pipeline.prepare(loaded, about["source"], identity["model"], config, EarlierRun.recorded(run))
    if context.view.digest != identity["data"]:
        raise UsageError("the data have changed since this run", where=about["source"], help="train on them first")
    recommender = context.load(_fine_tuned(run, context))
    rows = context.pooled(context.split.validation.sample(USERS, config.seed))
    prior = None
    if (run.folder / user_model.FILE).is_file():
        users = user_model.load(run.folder, recommender, context.prompter)
        rows = users.with_candidates(rows)
        prior = user_model.prior(users.next_item_log_probs(rows), context.k)
    evaluator = Evaluator.of(recommender, context.prompter, context.compiled, rows, prior)
    generations, temperature = config.grpo.generations, config.grpo.temperature
    popularity = baselines.Popularity(classics.takers(classics.taken(context.view, context.split)))
    slates = evaluator.sampled(recommender, generations, temperature, config.seed)
    popular = baselines.top(popularity.scores(rows), rows, context.k, evaluator.legal)
    rollouts = Rollouts(rows, slates, generations, temperature, *evaluator.candidates(recommender), popular)
    return profile(context.compiled, rollouts, seed=config.seed), context.view


def _fine_tuned(run: Run, context: RunContext) -> Path:
    """Returns the folder of the run's SFT model. Raises UsageError if there is none, or none for this policy."""
    folder = run.folder / "sft"
    if not (folder / "stage.json").is_file():
        raise UsageError("this run has no fine-tuned model yet", where=str(folder), help="let `recpolicy train` go on")
    if json.loads((folder / "stage.json").read_text(encoding="utf-8"))["of"] != context.sft_key():
        raise UsageError(
            f"the fine-tuned model of this run is not one for lists of {context.k} places by this version",
            where=str(folder),
            help="name a run whose policy has as many places (`slate`) and, with `prompt.policy`, asks the same, "
            "trained by this version of recpolicy and TRL",
        )
    return folder

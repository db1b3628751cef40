"""Extends the model of a finished run to a later catalog: items that came after training can be shown, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from recpolicy.data import Aligned
from recpolicy.dataset.columns import Ints, none
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.dataset.slates import unseen
from recpolicy.errors import UsageError
from recpolicy.evaluation.baselines import Baseline
from recpolicy.evaluation.linear import Scores
from recpolicy.recommendation import ALIKE
from recpolicy.runs import Run
from recpolicy.trainer.coldstart import attribute_embeddings, new_items
from recpolicy.trainer.coldstart.attribute_embeddings import ArrivalPrior
from recpolicy.trainer.config import Config
from recpolicy.trainer.models import item_attributes, recommenders, user_model
from recpolicy.trainer.models.item_attributes import Attributes
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.models.user_model import UserModel
from recpolicy.trainer.prompting.prompts import Prompter


@dataclass(frozen=True, eq=False)
class DeployedModel:
    """The model of a finished run over a later state of its data."""

    recommender: Recommender
    """With a token for every item of the catalog."""
    users: UserModel
    """The user model of the run, which knows the items of training."""
    catalog: Aligned
    facts: Attributes
    learned: Ints
    """The items from which embeddings of arrivals are learned."""
    similar: list[Ints]
    """The known items most similar to each arrival, which gets their mean probability."""

    def next_item_log_probs(self, rows: Rows) -> Scores:
        """Computes the log-probability of each item to be taken next, [B, items]."""
        known = self.catalog.earlier
        unanswered = replace(rows, next_items=none(len(rows)))  # they may be arrivals, which the user model lacks
        earlier = attribute_embeddings.with_history(unanswered, rows.history.values < known)
        shares = self.users.next_item_log_probs(earlier)
        return np.concatenate([shares, attribute_embeddings.shared(shares, unseen(earlier, known), self.similar)], 1)


def deployed_model(
    run: Run,
    model: str,
    config: Config,
    catalog: Aligned,
    events: Ints,
    prompts: Prompter,
    now: float,
    retriever: Baseline | None,
    tell: Callable[[str], None] = lambda _: None,
) -> DeployedModel:
    """Loads the model of a finished run and makes embeddings for the arrivals of the catalog.

    `model` is the name of the model that the run started from, and `config` has its settings. `events` are the training
    events of each item that it knows. `now` is the time of the prompts, and `retriever` fills candidate pools, if the
    model chooses from pools. `tell` gets messages on what takes long.
    """
    learned = new_items.learned_from(catalog, events)
    facts = item_attributes.attributes(catalog.dataset, learned)
    if not (run.folder / user_model.FILE).is_file():
        raise outdated(run, f"this run has no `{user_model.FILE}`")
    recommender, fine_tuned = (
        recommenders.load(
            run.folder / name, model, catalog.earlier, prompts.k, config.prompt.longest_reasoning, config.llm
        )
        for name in ("model", "sft")
    )
    users = user_model.load(run.folder, fine_tuned, prompts)
    if len(catalog.arrived):
        recommender = new_items.merged(recommender)
        prior = ArrivalPrior(users, facts, learned)
        examples = attribute_embeddings.cold_start_examples(
            recommender, prompts, catalog, learned, now, retriever, config.seed, tell, prior
        )
        tell("making embeddings for new items")
        recommender = new_items.extended(recommender, catalog, learned, facts, examples)
    similar = item_attributes.similar_items(facts, learned, catalog.arrived, ALIKE)
    return DeployedModel(recommender, users, catalog, facts, learned, similar)


def latest_time(dataset: Dataset) -> float:
    """Returns the time of the latest event, or the schema's `now` where none has a time, in seconds since 1970."""
    known = dataset.time[~np.isnan(dataset.time)]
    return float(known.max()) if len(known) else dataset.schema.now or 0.0


def outdated(run: Run, message: str) -> UsageError:
    """Returns the error of a run whose folder lacks what this version writes."""
    help = "it was begun by an earlier version of recpolicy: train again with this one"
    return UsageError(message, where=str(run.folder), help=help)

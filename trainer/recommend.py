"""Deploys the model of a finished run over the present state of its data: slates for users, ranks of new items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from transformers.utils import logging as transformers_logging

from recpolicy import data
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.data import Aligned
from recpolicy.dataset.columns import Floats, Ints
from recpolicy.dataset.rows import Dataset, Slates
from recpolicy.errors import UsageError
from recpolicy.evaluation import classics
from recpolicy.evaluation.baselines import Baseline
from recpolicy.evaluation.linear import Scores
from recpolicy.language import checker
from recpolicy.recommendation import Arrival, Recommendation
from recpolicy.runs import Run
from recpolicy.search import expected
from recpolicy.search.expected import Objective
from recpolicy.trainer.coldstart.deployed_model import DeployedModel, deployed_model, latest_time, outdated
from recpolicy.trainer.config import recorded
from recpolicy.trainer.evaluation import rerank_control
from recpolicy.trainer.evaluation.evaluator import BATCH, Evaluator
from recpolicy.trainer.models import user_model
from recpolicy.trainer.pipeline import SCHEMA, prompter
from recpolicy.trainer.prompting import candidate_pools
from recpolicy.trainer.prompting.prompts import Prompter


@dataclass(frozen=True)
class Deployment:
    """The model of a finished run over the present state of its data."""

    model: DeployedModel
    prompter: Prompter
    compiled: CompiledPolicy
    now: float
    """The time of the slates: that of the latest event, in seconds since 1970."""
    retriever: Baseline | None
    """Fills candidate pools, for a model that chooses from pools."""
    seed: int
    strength: float = 0.0
    """Weight of the policy in improving the model's slates; 0: they are the model's alone."""

    @property
    def catalog(self) -> Aligned:
        """The data, and which of its items the model knows."""
        return self.model.catalog

    @property
    def dataset(self) -> Dataset:
        """The data, with items in the order of the model's tokens."""
        return self.catalog.dataset

    def users(self, ids: Sequence[str] | None, most: int | None = None) -> Ints:
        """Returns the rows of the users with these ids, each once; for None of all users, or of `most` drawn at random.

        Raises UsageError for an id that is not in the data.
        """
        if ids is None:
            rows = np.arange(self.dataset.users.rows)
            return rows if most is None else np.sort(np.random.default_rng(0).permutation(rows)[:most])
        row = {id: i for i, id in enumerate(self.dataset.user_ids)}
        if missing := [id for id in ids if id not in row]:
            help = f"give an id of its users table, such as {self.dataset.user_ids[0]}"
            raise UsageError(f"no user `{missing[0]}`", where=self.dataset.name, help=help)
        return np.array([row[id] for id in dict.fromkeys(ids)])

    def recommendations(self, users: Ints) -> Iterator[Recommendation]:
        """Returns greedy slates for these users, rows of the users table, in order."""
        for part in _parts(users):
            yield from self._recommended(part, *self._evaluator(part))

    def first(self, users: Ints) -> Floats:
        """Computes log-probabilities of a slate's first place, [users, items]; -inf for what may not be shown."""
        batches = [self._first(self._evaluator(part)[0]) for part in _parts(users)]
        return np.concatenate([np.zeros((0, self.dataset.items.rows)), *batches])

    def arrivals(self, users: Ints) -> tuple[Arrival, ...]:
        """Ranks each item that came after training, for these users: medians over those who may be shown it."""
        items = self.catalog.arrived
        shown = np.zeros(self.dataset.items.rows, np.int64)
        ranks = [np.zeros((0, len(items), 4))]
        for part in _parts(users if len(items) else users[:0]):
            evaluator, shares = self._evaluator(part)
            for recommendation in self._recommended(part, evaluator, shares):
                shown[list(recommendation.items)] += 1
            ranks.append(_ranks(self._first(evaluator), items, self.model.similar))
        arrivals = []
        by_item = np.concatenate(ranks).transpose(1, 0, 2)
        for item, near, of in zip(items.tolist(), self.model.similar, by_item, strict=True):
            ranked = of[~np.isnan(of[:, 0])]
            medians = np.median(ranked, axis=0) if len(ranked) else np.full(4, np.nan)
            arrivals.append(Arrival(item, len(ranked), int(shown[item]), tuple(near.tolist()), *medians.tolist()))
        return tuple(arrivals)

    def _evaluator(self, users: Ints) -> tuple[Evaluator, Scores]:
        """The prompts and legal items of these users, and the log-probability of each item to be taken next."""
        rows = replace(data.rows_at_end(self.dataset, users), now=np.full(len(users), self.now))
        if self.retriever is not None:
            rows = candidate_pools.draw(rows, self.retriever, self.compiled.servable, self.prompter.settings, self.seed)
        if not len(self.catalog.arrived):  # an arrival is never among the candidates
            rows = self.model.users.with_candidates(rows)
        shares = self.model.next_item_log_probs(rows)
        prior = user_model.prior(shares, self.compiled.policy.slate)
        return Evaluator.of(self.model.recommender, self.prompter, self.compiled, rows, prior), shares

    def _guided(self, evaluator: Evaluator, shares: Scores, slates: Slates) -> Slates:
        """The slates after every exchange of items that increases the expected reward."""
        objective = Objective(
            self.compiled, self.strength, rerank_control.target_multipliers(self.compiled, self.strength)
        )
        count = np.full(len(evaluator.rows), self.compiled.policy.slate)
        rows = user_model.with_label_probabilities(evaluator.rows, shares, count, order=self.compiled.needs_order)
        return expected.slates(rows, evaluator.legal, objective, start=slates)

    def _recommended(self, users: Ints, evaluator: Evaluator, shares: Scores) -> Iterator[Recommendation]:
        form, tokenizer = self.model.recommender.form, self.model.recommender.tokenizer
        [completions] = evaluator.completions(self.model.recommender)
        slates = Slates(form.slates(completions).numpy())
        if self.strength:
            slates = self._guided(evaluator, shares, slates)
        words = form.is_word(completions)
        for user, slate, tokens, word in zip(users, slates.items.tolist(), completions, words, strict=True):
            reasoning = str(tokenizer.decode(tokens[word])).strip()
            yield Recommendation(int(user), tuple(item for item in slate if item >= 0), reasoning)

    def _first(self, evaluator: Evaluator) -> Floats:
        [logp] = evaluator.first(self.model.recommender)
        return logp.double().cpu().numpy()


def _parts(users: Ints) -> list[Ints]:
    return [users[at : at + BATCH] for at in range(0, len(users), BATCH)]


def _ranks(first: Floats, items: Ints, similar: list[Ints]) -> Floats:
    """Rank and number of each of `items`, among similar ones and among all, [users, items, 4]; NaN where not shown."""
    legal = np.isfinite(first)
    out = np.empty((len(first), len(items), 4))
    for i, (item, near) in enumerate(zip(items, similar, strict=True)):
        own = first[:, [item]]
        out[:, i, 0], out[:, i, 1] = 1 + (first[:, near] > own).sum(1), 1 + legal[:, near].sum(1)
        out[:, i, 2], out[:, i, 3] = 1 + (first > own).sum(1), legal.sum(1)
    out[~legal[:, items]] = np.nan
    return out


def deploy(
    run: Run,
    source: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
    *,
    policy: str | None = None,
    strength: float = 0.0,
) -> Deployment:
    """Updates the model of a finished run to the present state of its data.

    `source` is a later state of the run's data set; None: the source of the run. Items are matched by id: those that
    the model does not know get a token, and those no longer in the catalog are not shown. The run's policy or another
    `policy` is compiled for these data; at a `strength` above 0 it also improves the model's slates. `tell` gets
    messages on what takes long. Raises UsageError for a folder without a finished run, for a run of an earlier version,
    for data that are not those of the run, and for a policy with slates of another length; PolicyError where the policy
    cannot be kept with these data.
    """
    transformers_logging.disable_progress_bar()
    about = run.read()
    if not run.complete:
        raise UsageError(
            "this run is not finished", where=str(run.folder), help="let `recpolicy train --resume` go on with it"
        )
    config, items = recorded(run), _json(run, "items.json")
    schema = SCHEMA.validate_python(_json(run, "schema.json"))
    own = checker.read(str(run.folder / "policy" / about["policy"]), schema=schema, params=about["identity"]["params"])
    loaded = own if policy is None else checker.read(policy, schema=schema)
    k, model = loaded.policy.slate, about["identity"]["model"]
    if k != own.policy.slate:
        raise UsageError(
            f"its slates have {k} places, and those of the run {own.policy.slate}",
            where=str(policy),
            help=f"write `slate = {own.policy.slate}`, or train by this policy",
        )
    catalog = data.aligned(data.open(source or about["source"], schema, seed=config.seed), items["ids"])
    dataset = catalog.dataset
    prompts, now, seed = prompter(own, dataset, model, config), latest_time(dataset), config.seed
    retriever = None
    if config.prompt.pool:
        retriever = classics.fit(dataset, data.split(dataset, config.split, holdout=config.holdout), k)["ease_recency"]
    deployed = deployed_model(run, model, config, catalog, np.array(items["events"]), prompts, now, retriever, tell)
    compiled = replace(compile(loaded.policy, dataset), present=catalog.present)
    return Deployment(deployed, prompts, compiled, now, retriever, seed, strength)


def _json(run: Run, name: str) -> Any:
    try:
        return json.loads((run.folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise outdated(run, f"this run has no `{name}` that says what its model was trained on") from error

"""A finished run and the present state of its data in, slates for users and how new items stand out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from recpolicy import data
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.data import Aligned
from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.dataset.slates import unseen
from recpolicy.errors import UsageError
from recpolicy.evaluation import baselines
from recpolicy.evaluation.baselines import Baseline
from recpolicy.language import checker
from recpolicy.recommendation import ALIKE, Arrival, Recommendation
from recpolicy.runs import Run
from recpolicy.search import expected
from recpolicy.search.expected import Objective
from recpolicy.trainer.coldstart import attribute_embeddings, new_items
from recpolicy.trainer.coldstart.attribute_embeddings import Likely
from recpolicy.trainer.config import Config, recorded
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import first_items
from recpolicy.trainer.evaluation import rerank_control
from recpolicy.trainer.evaluation.evaluator import BATCH, Examiner
from recpolicy.trainer.models import item_attributes, recommenders, user_model
from recpolicy.trainer.models.item_attributes import Attributes
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.models.user_model import UserModel
from recpolicy.trainer.pipeline import SCHEMA, prompter
from recpolicy.trainer.prompting import candidate_pools
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.user_model.sources import Scores


@dataclass(frozen=True)
class Deployment:
    """The model of a finished run over the present state of its data."""

    recommender: Recommender
    prompter: Prompter
    compiled: CompiledPolicy
    catalog: Aligned
    facts: Attributes
    learned: Ints
    """The items that tell how the arrivals' embeddings follow from their attributes."""
    now: float
    """When the slates are shown: the time of the latest event, in seconds since 1970."""
    retriever: Baseline | None
    """What candidate pools are drawn by, for a model that chooses from pools."""
    seed: int
    likely_by: UserModel
    """The run's, which knows the items of training."""
    alike: list[Ints]
    """The known items most like each arrival, from which it takes its chances."""
    strength: float = 0.0
    """How much lists are improved by the policy while they are made; 0: the model alone."""

    @property
    def dataset(self) -> Dataset:
        """The data, their items in the order of the model's tokens."""
        return self.catalog.dataset

    def users(self, ids: Sequence[str] | None, most: int | None = None) -> Ints:
        """Rows of the users with these ids in the order given, each once; of all for None, but `most` at most.

        Raises UsageError for an id that the data do not hold.
        """
        if ids is None:
            rows = np.arange(self.dataset.users.rows)
            return rows if most is None else np.sort(np.random.default_rng(0).permutation(rows)[:most])
        row = {id: i for i, id in enumerate(self.dataset.user_ids)}
        for id in ids:
            if id not in row:
                help = f"give an id of its users table, such as {self.dataset.user_ids[0]}"
                raise UsageError(f"no user `{id}`", where=self.dataset.name, help=help)
        return np.array([row[id] for id in dict.fromkeys(ids)])

    def recommendations(self, users: Ints) -> Iterator[Recommendation]:
        """Greedy slates for these users, rows of the users table, in order."""
        for part in _parts(users):
            yield from self._recommended(part, *self._examiner(part))

    def first(self, users: Ints) -> Floats:
        """Log-probability of each item at a slate's first place, [users, items]; -inf for what may not be shown."""
        found = [self._first(self._examiner(part)[0]) for part in _parts(users)]
        return np.concatenate([np.zeros((0, self.dataset.items.rows)), *found])

    def arrivals(self, users: Ints) -> tuple[Arrival, ...]:
        """How each item that came after training stands with these users."""
        items = self.catalog.arrived
        like = self.alike
        shown = np.zeros(self.dataset.items.rows, np.int64)
        standings = [np.zeros((0, len(items), 4))]
        for part in _parts(users if len(items) else users[:0]):
            examiner, shares = self._examiner(part)
            for recommendation in self._recommended(part, examiner, shares):
                shown[list(recommendation.items)] += 1
            standings.append(_standings(self._first(examiner), items, like))
        whole = np.concatenate(standings)
        found = []
        for item, alike, of in zip(items.tolist(), like, whole.transpose(1, 0, 2), strict=True):
            may = of[~np.isnan(of[:, 0])]
            medians = np.median(may, axis=0) if len(may) else np.full(4, np.nan)
            found.append(Arrival(item, len(may), int(shown[item]), tuple(alike.tolist()), *medians.tolist()))
        return tuple(found)

    def _examiner(self, users: Ints) -> tuple[Examiner, Scores]:
        """What the recommender is asked for these users, and the log-probability of each item to be taken next."""
        rows = replace(data.rows_at_end(self.dataset, users), now=np.full(len(users), self.now))
        if self.retriever is not None:
            rows = candidate_pools.drawn(rows, self.retriever, self._servable, self.prompter.settings, self.seed)
        shares = self._log_shares(rows)
        prior = user_model.prior(shares, self.compiled.policy.slate)
        examiner = Examiner.of(self.recommender, self.prompter, self.compiled, rows, prior)
        return replace(examiner, legal=self._servable(rows)), shares

    def _log_shares(self, rows: Rows) -> Scores:
        """Log-probability of each item to be taken next, [users, items]."""
        earlier = attribute_embeddings.without(rows, self.catalog.earlier)
        known = self.likely_by.log_shares(earlier)
        free = unseen(earlier, self.catalog.earlier)
        return np.concatenate([known, attribute_embeddings.shared(known, free, self.alike)], 1)

    def _guided(self, examiner: Examiner, shares: Scores, slates: Slates) -> Slates:
        """The slates with every exchange that the policy and the chances of the items speak for."""
        objective = Objective(self.compiled, self.strength, rerank_control.pulls(self.compiled, self.strength))
        count = np.full(len(examiner.rows), self.compiled.policy.slate)
        likely = user_model.with_chances(examiner.rows, shares, count, order=self.compiled.needs_order)
        return expected.slates(likely, examiner.legal, objective, start=slates)

    def _servable(self, rows: Rows) -> Bools:
        """What each user may be shown, [users, items]: what the policy allows and the catalog still has."""
        return self.compiled.servable(rows) & self.catalog.present

    def _recommended(self, users: Ints, examiner: Examiner, shares: Scores) -> Iterator[Recommendation]:
        form, tokenizer = self.recommender.form, self.recommender.tokenizer
        [said] = examiner.completions(self.recommender)
        slates = Slates(form.slates(said).numpy())
        if self.strength:
            slates = self._guided(examiner, shares, slates)
        for user, slate, tokens, word in zip(users, slates.items.tolist(), said, form.is_word(said), strict=True):
            reasoning = str(tokenizer.decode(tokens[word])).strip()
            yield Recommendation(int(user), tuple(item for item in slate if item >= 0), reasoning)

    def _first(self, examiner: Examiner) -> Floats:
        model, legal = self.recommender.model, torch.from_numpy(examiner.legal)
        with evaluating(model):
            assert examiner.prior is not None
            prior = torch.from_numpy(examiner.prior).to(model.device)
            found = first_items(model, self.recommender.form, examiner.prompts, legal.to(model.device), prior)
        return found.double().cpu().numpy()


def _parts(users: Ints) -> list[Ints]:
    return [users[at : at + BATCH] for at in range(0, len(users), BATCH)]


def _standings(first: Floats, items: Ints, like: list[Ints]) -> Floats:
    """Rank and number of each of `items`, among those alike and among all, [users, items, 4]; NaN where not shown."""
    legal = np.isfinite(first)
    out = np.empty((len(first), len(items), 4))
    for i, (item, near) in enumerate(zip(items, like, strict=True)):
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
    """Bring the model of a finished run up to the present state of its data.

    `source` is a later state of the run's data set; None reads where the run itself read. Items are matched by id:
    those the model does not know get a token, those no longer in the catalog are not shown. The run's policy, or
    another `policy` that lists are to follow from now on, counts as of today, at `strength` beyond what the model has
    learned of its own; `tell` hears what takes long. Raises UsageError for a folder that holds no finished run, one of
    an earlier version, data that are not those of the run, and a policy for slates of another length; PolicyError where
    the policy cannot be kept today.
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
    if loaded.policy.slate != own.policy.slate:
        raise UsageError(
            f"its slates have {loaded.policy.slate} places, and those of the run {own.policy.slate}",
            where=str(policy),
            help=f"write `slate = {own.policy.slate}`, or train by this policy",
        )
    catalog = data.aligned(data.open(source or about["source"], schema, seed=config.seed), items["ids"])
    dataset, k, model = catalog.dataset, loaded.policy.slate, about["identity"]["model"]
    learned = new_items.learned_from(catalog, np.array(items["events"]))
    facts = item_attributes.attributes(dataset, learned)
    think = config.prompt.longest_reasoning
    recommender, fine_tuned = (
        recommenders.load(run.folder / name, model, catalog.earlier, k, think, config.llm) for name in ("model", "sft")
    )
    asked, now, seed = prompter(own, dataset, model, config), _now(dataset), config.seed
    if not (run.folder / user_model.FILE).is_file():
        raise UsageError(
            f"this run has no `{user_model.FILE}`",
            where=str(run.folder),
            help="it was begun by an earlier version of recpolicy: train again with this one",
        )
    users = user_model.load(run.folder, fine_tuned, asked)
    alike = item_attributes.alike(facts, learned, catalog.arrived, ALIKE)
    retriever = _retriever(dataset, config, k) if config.prompt.pool else None
    if len(catalog.arrived):
        recommender = new_items.merged(recommender)
        likely = Likely(users, facts, learned)
        rehearsal = attribute_embeddings.rehearse(
            recommender, asked, catalog, learned, now, retriever, seed, tell, likely
        )
        tell("making embeddings for new items")
        recommender = new_items.extended(recommender, catalog, learned, facts, rehearsal)
    compiled = compile(loaded.policy, dataset)
    return Deployment(
        recommender, asked, compiled, catalog, facts, learned, now, retriever, seed, users, alike, strength
    )


def _json(run: Run, name: str) -> Any:
    """What a file of the run holds."""
    try:
        return json.loads((run.folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"this run has no `{name}` that says what its model was trained on",
            where=str(run.folder),
            help="it was begun by an earlier version of recpolicy: train again with this one",
        ) from error


def _retriever(dataset: Dataset, config: Config, k: int) -> Baseline:
    return baselines.fit(dataset, data.split(dataset, holdout=config.holdout), k)["ease_recency"]


def _now(dataset: Dataset) -> float:
    known = dataset.time[~np.isnan(dataset.time)]
    return float(known.max()) if len(known) else dataset.schema.now or 0.0

"""Goes on from a finished run: checks that it fits, and takes over its item numbers, weights and user model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recpolicy.data import Aligned
from recpolicy.dataset.columns import Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.errors import UsageError
from recpolicy.evaluation.baselines import Baseline
from recpolicy.language.checker import Loaded
from recpolicy.runs import Run, fingerprint
from recpolicy.trainer.coldstart.deployed_model import DeployedModel, deployed_model, latest_time, outdated
from recpolicy.trainer.config import Config, recorded
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.models import pretrained, recommenders
from recpolicy.trainer.models.carry_over import carry_over, carry_tokens_over
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.trainer.stages.sft import set_weights, weights


def policy_identity(loaded: Loaded) -> dict[str, Any]:
    """Returns what a policy asks, for the identity of a run."""
    return {
        "policy": fingerprint(*(source.text for source in loaded.policy.sources)),
        "params": {param.name: param.written for param in loaded.policy.params},
    }


@dataclass(frozen=True)
class EarlierRun:
    """A finished run that another one goes on from."""

    run: Run
    digest: str
    """SHA-256 over its models and over the items and users that it knows."""
    items: tuple[str, ...]
    """The ids of its items, in the order of their tokens."""
    events: int
    """Number of its training events."""
    same_policy: bool
    """Whether its policy is that of the run that goes on."""

    @staticmethod
    def read(folder: Path, loaded: Loaded, model: str, config: Config) -> EarlierRun:
        """Reads what a run with this policy, model and settings needs to know of the run in `folder`.

        Raises UsageError where there is no finished run, and for one of another model, prompt or number of places.
        """
        run = Run(folder)
        if not run.begun:
            help = "give --from the folder of a finished run; if it was moved, where it is now: its content counts"
            raise UsageError("there is no run to go on from in this folder", where=str(folder), help=help)
        identity = run.read()["identity"]
        if not run.complete:
            help = "let `recpolicy train --resume` finish it first"
            raise UsageError("the run to go on from is not finished", where=str(folder), help=help)
        _refuse_other_kind(run, loaded, model, config)
        items, users = _read(run, "items.json"), _read(run, "users.json")
        digest = fingerprint(items, users, *(pretrained.content(folder.resolve() / name) for name in ("sft", "model")))
        same = all(identity.get(key) == value for key, value in policy_identity(loaded).items())
        return EarlierRun(run, digest, tuple(items["ids"]), sum(items["events"]), same)

    @staticmethod
    def recorded(run: Run) -> EarlierRun | None:
        """Reads what a run recorded of the one that it went on from, which need not exist any more; None: of none."""
        of = run.read().get("from")
        if of is None:
            return None
        ids = tuple(_read(run, "items.json")["ids"])
        return EarlierRun(Run(Path(of["path"])), of["digest"], ids, of["events"], of["same_policy"])

    def record(self) -> dict[str, Any]:
        """Returns what `run.json` has of it."""
        place = str(self.run.folder.resolve())
        return {"path": place, "digest": self.digest, "events": self.events, "same_policy": self.same_policy}


@dataclass(frozen=True, eq=False)
class WarmStart:
    """What a run takes over from an earlier one."""

    earlier: EarlierRun
    catalog: Aligned
    """The training part of the data."""

    @staticmethod
    def of(earlier: EarlierRun, catalog: Aligned, split: Split) -> WarmStart:
        """Returns the start of a run on these data."""
        return WarmStart(earlier, replace(catalog, dataset=_training_part(catalog.dataset, split)))

    @property
    def new_events(self) -> float:
        """The share of the training events that the earlier run did not have, 0 to 1."""
        return max(0.0, 1 - self.earlier.events / max(len(self.catalog.dataset.item), 1))

    def shortened(self, config: Config) -> Config:
        """Returns the settings with the steps that are left to do: of GRPO all, where the policy is another one."""
        return config.shortened(self.new_events, grpo=self.earlier.same_policy)

    @cached_property
    def learned(self) -> Ints:
        """How many events of each user the earlier run has learned, [users]: the first ones."""
        known = _read(self.earlier.run, "users.json")
        events = dict(zip(known["ids"], known["events"], strict=True))
        return np.array([events.get(id, 0) for id in self.catalog.dataset.user_ids], np.int64)

    def first_new(self, dataset: Dataset) -> Ints:
        """Returns where each user's new events begin, [users], as an index into `Dataset.item`."""
        return dataset.start[:-1] + self.learned

    def unlearned(self, split: Split) -> Split:
        """Returns the split without the held-out rows whose next items the earlier run has learned.

        Such rows come of a split that now holds out more than then. Raises UsageError where no others are left, and
        where there is nothing new to learn.
        """
        if not (np.diff(self.catalog.dataset.start) > np.maximum(self.learned, 1)).any():
            help = "give later data, or leave out --from: runs that differ only in their policy share the SFT model"
            raise UsageError(
                "no training event is new since the run to go on from", where=str(self.earlier.run.folder), help=help
            )
        learned = self.learned

        def rest(rows: Rows) -> Rows:
            left = np.flatnonzero(rows.history.lengths >= learned[rows.user])
            if not len(left):
                help = "write the `split` and `holdout` of that run, give data with later events, or leave out --from"
                message = "the earlier run has learned what every user takes next in the held-out events"
                raise UsageError(message, where=str(self.earlier.run.folder), help=help)
            return rows.take(left)

        validation, test = rest(split.validation), rest(split.test)
        out = len(split.validation) - len(validation) + len(split.test) - len(test)
        note = f"Rows left out of validation and test, as the earlier run has learned their next items: {out:,}."
        return replace(split, validation=validation, test=test, notes=(*split.notes, *([note] if out else [])))

    def model(self, name: str, config: Config, prompts: Prompter, retriever: Baseline | None) -> DeployedModel:
        """Loads the earlier run's model with a token for every item; `name` is that of the model it started from."""
        events, now = np.array(_read(self.earlier.run, "items.json")["events"]), latest_time(self.catalog.dataset)
        return deployed_model(self.earlier.run, name, config, self.catalog, events, prompts, now, retriever)

    def fine_tuning(self, recommender: Recommender, earlier: DeployedModel) -> None:
        """Sets a new recommender to the weights of the earlier run's SFT model, in place.

        New items have the embeddings that `earlier` has made for them, and other new words keep theirs.
        """
        assert earlier.users.recommender is not None
        carry_tokens_over(earlier.recommender, recommender)
        carry_over(earlier.users.recommender, recommender)

    def policy_training(self, recommender: Recommender, load: Callable[[Path, int], Recommender]) -> None:
        """Adds to a fine-tuned recommender what GRPO changed in the earlier run, in place, if the policy is the same.

        `load` reads a model of the earlier run, which knows so many items. Differences of weights add up (Ilharco et
        al., ICLR 2023): fine-tuning on new events and the policy change the model in different ways.
        """
        if not self.earlier.same_policy:
            return
        own, states = weights(recommender.trained), list[dict[str, Tensor]]()
        for name in ("model", "sft"):
            carry_over(load(self.earlier.run.folder / name, len(self.earlier.items)), recommender)
            states.append(weights(recommender.trained))
        after, before = states
        set_weights(recommender.trained, {key: own[key] + after[key] - before[key] for key in own})


def _refuse_other_kind(run: Run, loaded: Loaded, model: str, config: Config) -> None:
    """Raises UsageError where the earlier run has another model, other prompts or lists of another length."""
    then, where = run.read()["identity"], str(run.folder)
    if then["model"] != model:
        help = f"write --model {then['model']}, or leave out --from to train anew"
        raise UsageError(f"this run trained the model {then['model']}, not {model}", where=where, help=help)
    sections = ("prompt", "tiny" if model == recommenders.TINY else "llm")
    now, settings = config.model_dump(), recorded(run).model_dump()
    for key in (f"{section}.{name}" for section in sections for name in now[section]):
        section, name = key.split(".")
        if settings[section][name] != now[section][name]:
            was = settings[section][name]
            message = f"this run had {key} = {was!r}, not {now[section][name]!r}"
            help = f"write {key} = {json.dumps(was)} in the settings (--config), or leave out --from to train anew"
            raise UsageError(message, where=where, help=help)
    places = _read(run, "eval.json")["k"]
    if places != loaded.policy.slate:
        help = f"write `slate = {places}`, or leave out --from to train anew"
        message = f"its lists have {loaded.policy.slate} places, and those of the run to go on from {places}"
        raise UsageError(message, where=loaded.source.name, help=help)
    if processes.sharded():
        help = "use plain processes (examples/accelerate/gpus.yaml)"
        raise UsageError("--from does not read weights into parts that processes share (FSDP)", help=help)


def _read(run: Run, name: str) -> Any:
    try:
        return json.loads((run.folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise outdated(run, f"this run has no `{name}`") from error


def _training_part(dataset: Dataset, split: Split) -> Dataset:
    """The data set with the events of the training part alone."""
    events = Ragged.slices(np.arange(len(dataset.item), dtype=np.int32), dataset.start[:-1], split.train_end)
    at = events.values
    weight = None if dataset.weight is None else dataset.weight[at]
    return replace(dataset, start=events.offsets, item=dataset.item[at], time=dataset.time[at], weight=weight)

"""Rows of the training part in, a recommender fine-tuned on what users really took out (TRL's SFTTrainer)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset as TokenDataset
from torch import Tensor
from torch.nn import Module
from transformers import PreTrainedModel, TrainerCallback
from trl import SFTConfig, SFTTrainer

from recpolicy.data import rows_at
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.evaluation.targets import Score
from recpolicy.trainer.config import Sft
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.distributed import processes, sharding
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.stages.training import Training

IGNORED = -100
"""Label of a token that is no example."""


def training_rows(dataset: Dataset, split: Split, horizon: int, count: int, seed: int) -> Rows:
    """`count` rows cut at random places in the later half of the users' training parts, all users alike.

    A row has at least one item of history and at least one that comes next. Early cuts are left out: their prompts
    are unlike those of held-out events, and the loss on history items covers them.
    """
    rng = np.random.default_rng(seed)
    start, end = dataset.start[:-1], split.train_end
    users = np.flatnonzero(end - start >= 2)
    user = np.concatenate([rng.permutation(users) for _ in range(-(-count // len(users)))])[:count]
    last = np.maximum(end[user] - horizon, start[user] + 1)
    cut = rng.integers((start[user] + 1 + last) // 2, last + 1)
    return rows_at(dataset, user, cut, horizon, end[user])


def thinned(rows: Rows, least: float, seed: int) -> Rows:
    """The rows with a random part of each history left out; a share between `least` and 1 stays, the last item always.

    Users come back many times with almost the same history: without this the model learns the users by heart.
    """
    rng = np.random.default_rng(seed)
    history = rows.history
    row = np.repeat(np.arange(len(rows)), history.lengths)
    kept = rng.random(len(row)) < rng.uniform(least, 1.0, len(rows))[row]
    kept[history.offsets[1:][history.lengths > 0] - 1] = True
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(rows)))])
    return replace(rows, history=Ragged(offsets, history.values[kept]))


def shuffled(rows: Rows, seed: int) -> Rows:
    """The rows with their next items in random order.

    Slates are judged by what they hold against all the next items, and events of one sitting carry one time: a fixed
    order would teach the model the accident of which came first.
    """
    following = rows.next_items
    row = np.repeat(np.arange(len(rows)), following.lengths)
    order = np.lexsort((np.random.default_rng(seed).random(len(row)), row))
    return replace(rows, next_items=Ragged(following.offsets, following.values[order]))


@dataclass
class BestOnValidation(TrainerCallback):
    """Averages the weights, scores the average every few steps, keeps the best, and stops when it no longer improves.

    The average is exponential over steps with decay min(`decay`, (1 + n) / (10 + n)) after n steps (Polyak and
    Juditsky 1992, with the warm start that is usual). Single steps of so small a batch scatter around it.
    """

    score: Callable[[], Score]
    decay: float
    every: int
    patience: int
    report: Callable[[int, Score], None]
    average: dict[str, Tensor] = field(default_factory=dict)
    best: Score | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    since: int = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Follow the weights, and measure when it is time."""
        model, step = kwargs["model"], state.global_step
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, weight in _trained(model):
            if name not in self.average:
                self.average[name] = weight.clone()
            self.average[name].lerp_(weight, 1 - decay)
        if step % self.every == 0 or step == state.max_steps:
            self.measure(model, step)
            if self.since >= self.patience:
                control.should_training_stop = True

    def measure(self, model: Module, step: int) -> None:
        """Score the average, and keep it if it is the best so far."""
        current = weights(model)
        set_weights(model, self.average)
        value = processes.broadcast(self.score())
        set_weights(model, current)
        self._keep(step, value)

    def begin(self, model: Module, score: Score) -> None:
        """Let the model as it comes, whose score is known, take part as step 0."""
        self.average = weights(model)
        self._keep(0, score)

    def _keep(self, step: int, value: Score) -> None:
        self.report(step, value)
        self.since += 1
        if self.best is None or value > self.best:
            self.best, self.since = value, 0
            self.weights = {name: weight.clone() for name, weight in self.average.items()}

    def restore(self, model: Module) -> Score:
        """Give the model the best average; returns its score."""
        assert self.best is not None, "nothing was measured"
        set_weights(model, self.weights)
        return self.best

    def state_dict(self) -> dict[str, Any]:
        """What has been averaged, found and kept by now."""
        best = None if self.best is None else astuple(self.best)
        return {"average": self.average, "best": best, "weights": self.weights, "since": self.since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.best = None if state["best"] is None else Score(*state["best"])
        self.average, self.weights, self.since = state["average"], state["weights"], state["since"]


def _trained(model: Module) -> Iterator[tuple[str, Tensor]]:
    """What this process has of the weights that are trained, in 32 bits: fewer would lose an average's small steps."""
    return ((n, sharding.own(w).detach().float()) for n, w in model.named_parameters() if w.requires_grad)


def weights(model: Module) -> dict[str, Tensor]:
    """A copy of what this process has of the weights that are trained."""
    return {name: weight.clone() for name, weight in _trained(model)}


def set_weights(model: Module, weights: Mapping[str, Tensor]) -> None:
    """Give the model what `weights` found of it, in this process."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            sharding.own(own[name]).copy_(weight)


def token_rows(recommender: Recommender, prompts: list[str], completions: list[str], histories: Ragged) -> TokenDataset:
    """Examples as `input_ids` and `labels`: the prompt, the training completion and the end of text.

    The loss is on the completion and on the prompt's items that are in the row's history: every place of a history is a
    training example. Those of a candidate pool are none: their order tells nothing.
    """
    form = recommender.form
    told = recommender.encode(prompts)
    said = [[*c, form.end] for c in recommender.encode(completions)]
    taken = [form.tokens(histories.row(i)) for i in range(len(told))]
    return TokenDataset.from_dict(
        {
            "input_ids": [p + c for p, c in zip(told, said, strict=True)],
            "labels": [
                [t if t in own else IGNORED for t in p] + c for p, c, own in zip(told, said, taken, strict=True)
            ],
            "length": [len(p) + len(c) for p, c in zip(told, said, strict=True)],
        }
    )


class LabelledTokensTrainer(SFTTrainer):
    """SFTTrainer whose loss makes the logits of labelled tokens only, a few rows at a time.

    TRL makes those of all tokens, and computes entropy and accuracy that nobody reads: with 10,000 items a step then
    takes several times as long on a CPU. The softmax stays that over the whole vocabulary. Over items alone where an
    item stands, which is how answers are decoded, models came out worse: on MovieLens-100K's validation users the
    first place of an answer ranked by NDCG .14 instead of .16 (tiny, two seeds).
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean cross-entropy of the labelled tokens of the batch, which processes may share."""
        labels = inputs["labels"][:, 1:]
        row, at = (labels != IGNORED).nonzero(as_tuple=True)

        def loss(bare: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
            states, _ = prefix_sharing.read(bare, ids, mask, use_cache=False)
            return prefix_sharing.mean_cross_entropy(bare, states[row, at], labels[row, at])

        found = prefix_sharing.inside(model, inputs["input_ids"], inputs["attention_mask"], loss)
        return found * processes.batch_share(len(row))

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Rows of like length beside each other, in the batches that all processes take together."""
        sampler: Any = super()._get_train_sampler(train_dataset)
        sampler.batch_size *= processes.count()
        return sampler


def train(
    recommender: Recommender,
    examples: TokenDataset,
    settings: Sft,
    training: Training,
    score: Callable[[], Score],
    report: Callable[[int, Score], None],
) -> Score:
    """Fine-tune in place, ending with the weights that scored best on validation; returns that score.

    `score` measures the model as it stands; `report` is told every step that was measured and its score.
    """
    best = BestOnValidation(score, settings.ema_decay, settings.evaluate_every, settings.patience, report)
    trainer = LabelledTokensTrainer(
        model=recommender.trained,
        processing_class=recommender.tokenizer,
        args=SFTConfig(
            **training.arguments(settings, settings.batch, "sft.batch"),
            warmup_steps=settings.warmup,
            weight_decay=settings.weight_decay,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            train_sampling_strategy="group_by_length",
            length_column_name="length",
        ),
        train_dataset=examples,
        callbacks=[best],
    )
    training.carry_out(trainer, best=best)
    return best.restore(recommender.trained)

"""Trains a recommender on what users took next in the training part, with TRL's SFTTrainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset as TokenDataset
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, TrainerCallback
from trl import SFTConfig, SFTTrainer

from recpolicy.data import rows_at
from recpolicy.dataset.candidates import is_large
from recpolicy.dataset.columns import Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.errors import UsageError
from recpolicy.evaluation.targets import Score
from recpolicy.trainer.config import Sft
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.answer_format import AnswerFormat
from recpolicy.trainer.distributed import processes, sharding
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.stages.training import Training

NEGATIVES = 8192
"""Items that stand for the others in a step on a large catalog."""
IGNORED = -100
"""Label of a token that is not a training example."""


def training_rows(dataset: Dataset, split: Split, horizon: int, count: int, seed: int, new: Ints | None = None) -> Rows:
    """Samples `count` rows, cut at random places in the later half of the users' training parts.

    All users occur equally often. A row has at least one item of history and at least one next item. Early cuts are
    left out: their prompts differ from those of held-out events, and the loss on history items covers them. `new`
    [users] is where each user's new events begin, as an index into `Dataset.item`: then every next item is new. Raises
    UsageError where no user has two events there.
    """
    rng = np.random.default_rng(seed)
    start, end = dataset.start[:-1], split.train_end
    first = start + 1 if new is None else np.maximum(new, start + 1)
    users = np.flatnonzero(end > first)
    if not len(users):
        help = "one to know a user by and one to learn from; hold out less, by the settings `split` and `holdout`"
        raise UsageError("no user has 2 events in the training part", where=dataset.name, help=help)
    user = np.concatenate([rng.permutation(users) for _ in range(-(-count // len(users)))])[:count]
    last = np.maximum(end[user] - horizon, first[user])
    cut = rng.integers(np.maximum((start[user] + 1 + last) // 2, first[user]), last + 1)
    return rows_at(dataset, user, cut, horizon, end[user])


def subsampled_history(rows: Rows, least: float, seed: int) -> Rows:
    """Returns the rows with a random part of each history: a share between `least` and 1, and always the last item.

    The same user occurs many times with almost the same history; without this, the model would memorise the users.
    """
    rng = np.random.default_rng(seed)
    history = rows.history
    row = np.repeat(np.arange(len(rows)), history.lengths)
    mask = rng.random(len(row)) < rng.uniform(least, 1.0, len(rows))[row]
    mask[history.offsets[1:][history.lengths > 0] - 1] = True
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row[mask], minlength=len(rows)))])
    return replace(rows, history=Ragged(offsets, history.values[mask]))


def shuffled_labels(rows: Rows, seed: int) -> Rows:
    """Returns the rows with their next items in random order.

    A slate is compared with all the next items, whatever their order, and events of one session often have the same
    time. In a fixed order, the model would learn which of them happened to come first.
    """
    following = rows.next_items
    row = np.repeat(np.arange(len(rows)), following.lengths)
    order = np.lexsort((np.random.default_rng(seed).random(len(row)), row))
    return replace(rows, next_items=Ragged(following.offsets, following.values[order]))


@dataclass
class BestCheckpoint(TrainerCallback):
    """Averages the weights, scores the average every few steps, keeps the best, and stops when it no longer improves.

    After n steps the average is a_n = d a_(n-1) + (1 - d) w_n with d = min(`decay`, (1 + n) / (10 + n)) (Polyak and
    Juditsky 1992, with the usual warm start). Batches are small, so the weights of single steps scatter around it.
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
        """Updates the average, and scores it when it is time."""
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
        """Scores the average, and keeps it if it is the best so far."""
        current = weights(model)
        set_weights(model, self.average)
        value = processes.broadcast(self.score())
        set_weights(model, current)
        self._keep(step, value)

    def begin(self, model: Module, score: Score) -> None:
        """Lets the model at the start, whose score is known, take part as step 0."""
        self.average = weights(model)
        self._keep(0, score)

    def _keep(self, step: int, value: Score) -> None:
        self.report(step, value)
        self.since += 1
        if self.best is None or value > self.best:
            self.best, self.since = value, 0
            self.weights = {name: weight.clone() for name, weight in self.average.items()}

    def restore(self, model: Module) -> Score:
        """Sets the model's weights to the best average, and returns its score."""
        assert self.best is not None, "nothing was measured"
        set_weights(model, self.weights)
        return self.best

    def state_dict(self) -> dict[str, Any]:
        """Returns the average, and the best weights with their score."""
        best = None if self.best is None else astuple(self.best)
        return {"average": self.average, "best": best, "weights": self.weights, "since": self.since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.best = None if state["best"] is None else Score(*state["best"])
        self.average, self.weights, self.since = state["average"], state["weights"], state["since"]


def _trained(model: Module) -> Iterator[tuple[str, Tensor]]:
    """Yields this process's part of the trained weights, in 32 bits: fewer would lose the small steps of an average."""
    return ((n, sharding.own(w).detach().float()) for n, w in model.named_parameters() if w.requires_grad)


def weights(model: Module) -> dict[str, Tensor]:
    """Returns a copy of this process's part of the trained weights."""
    return {name: weight.clone() for name, weight in _trained(model)}


def set_weights(model: Module, weights: Mapping[str, Tensor]) -> None:
    """Sets this process's part of the trained weights to what `weights` returned."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            sharding.own(own[name]).copy_(weight)


def token_rows(recommender: Recommender, prompts: list[str], completions: list[str], histories: Ragged) -> TokenDataset:
    """Builds examples with `input_ids` and `labels`: the prompt, the training completion and the end of text.

    The loss is on the completion and on the prompt's items that are in the row's history: every place of a history is a
    training example. The items of a candidate pool are not: their order carries no information.
    """
    form = recommender.form
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": []}
    encoded = zip(recommender.encode(prompts), recommender.encode(completions), strict=True)
    for i, (prompt, completion) in enumerate(encoded):
        taken, completion = form.tokens(histories.row(i)), [*completion, form.end]
        columns["input_ids"].append(prompt + completion)
        columns["labels"].append([token if token in taken else IGNORED for token in prompt] + completion)
        columns["length"].append(len(prompt) + len(completion))
    return TokenDataset.from_dict(columns)


def sampled_cross_entropy(model: PreTrainedModel, form: AnswerFormat, states: Tensor, tokens: Tensor) -> Tensor:
    """Computes the mean of -log p(token) for `tokens` [N] that follow `states` [N, H], with a sample of the items.

    log p(i) = z_i - log (sum over words and the batch's own items of exp(z) + sum over others drawn of w exp(z)), where
    NEGATIVES of the other items are drawn evenly and w is the number of others for each one drawn: a sampled softmax
    (Jean et al., ACL 2015), so that a step does not grow with the catalog.
    """
    own = torch.unique(tokens[form.is_item(tokens)])
    drawn = torch.randint(form.item_base, form.item_base + form.items, (NEGATIVES,), device=tokens.device).unique()
    drawn = drawn[~torch.isin(drawn, own)]
    words = torch.arange(form.item_base, device=tokens.device)
    columns = torch.cat([words, own, drawn])
    log_weight = torch.zeros(len(columns), device=tokens.device)
    log_weight[len(columns) - len(drawn) :] = math.log((form.items - len(own)) / max(len(drawn), 1))
    number = torch.empty(form.item_base + form.items, dtype=torch.long, device=tokens.device)
    number[columns] = torch.arange(len(columns), device=tokens.device)
    logits = prefix_sharing.logits_at(model, states[None], columns[None])[0].float()
    return cross_entropy(logits + log_weight, number[tokens])


class LabelledTokensTrainer(SFTTrainer):
    """SFTTrainer that computes the logits of labelled tokens only, a few rows at a time.

    TRL computes those of all tokens, and entropy and accuracy that nobody reads: with 10,000 items a step then takes
    several times as long on a CPU. The softmax is over the whole vocabulary. Over items alone where an item stands,
    which is how answers are decoded, models came out worse: on MovieLens-100K's validation users the first place of an
    answer ranked by NDCG .14 instead of .16 (tiny, two seeds). Of a large catalog it is over a sample of the items
    (`sampled_cross_entropy`).
    """

    form: AnswerFormat
    """Set before training: which tokens are items."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Computes the mean of -log p(token) over the labelled tokens of the batch, which processes may share."""
        labels = inputs["labels"][:, 1:]
        row, at = (labels != IGNORED).nonzero(as_tuple=True)

        def loss(bare: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
            states, _ = prefix_sharing.read(bare, ids, mask, use_cache=False)
            if is_large(self.form.items):
                return sampled_cross_entropy(bare, self.form, states[row, at], labels[row, at])
            return prefix_sharing.mean_cross_entropy(bare, states[row, at], labels[row, at])

        mean = prefix_sharing.inside(model, inputs["input_ids"], inputs["attention_mask"], loss)
        return mean * processes.batch_share(len(row))

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Puts rows of similar length beside each other, in the batches that all processes take together."""
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
    *,
    trained: bool = False,
) -> Score:
    """Trains in place, ends with the weights that scored best on validation, and returns their score.

    `score` measures the model as it is; `report` receives every step that was measured and its score. A model that is
    `trained` already takes part as it is, as step 0.
    """
    best = BestCheckpoint(score, settings.ema_decay, settings.evaluate_every, settings.patience, report)
    if trained and training.checkpoints.last is None:
        best.begin(recommender.trained, processes.broadcast(score()))
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
    trainer.form = recommender.form
    training.carry_out(trainer, best=best)
    return best.restore(recommender.trained)

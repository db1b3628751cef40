"""A fine-tuned recommender and histories without labels in, the recommender taught to answer with good slates out.

A slate's first place knows less than the place behind the last item of a history, where the model was trained on every
event. The teacher is that place blended with EASE, re-ranked for the policy; the pupil learns the teacher's choice at
every place of the slate (Hinton et al. 2015, with the re-rank control in the place of a larger model).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainingArguments

from recpolicy import metrics
from recpolicy.baselines import Baseline, Scores, top
from recpolicy.data import rows_at
from recpolicy.dataset import Dataset, Rows, Slates, Split
from recpolicy.demands import Score
from recpolicy.table import Bools, Codes, Floats, Ragged
from recpolicy.trainer import prefix, processes
from recpolicy.trainer.config import Distil
from recpolicy.trainer.control import Reranking, aimed
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.multipliers import Aim
from recpolicy.trainer.prefix import evaluating, left_pad
from recpolicy.trainer.prompts import Prompter
from recpolicy.trainer.rollout import next_items
from recpolicy.trainer.sft import IGNORED, BestOnValidation, thinned
from recpolicy.trainer.training import Training
from recpolicy.trainer.validation import Validation

BATCH = 256
CANDIDATES = 100
"""Items of the teacher's that the policy chooses from."""

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Weights of EASE in the blend that are tried on validation."""


@dataclass(frozen=True)
class Teacher:
    """What is likely to be taken next, by the model's own next-item head and EASE together."""

    recommender: Recommender
    ease: Baseline
    share: float = 0.0
    """Weight of EASE, 0 to 1."""

    def scores(self, rows: Rows, prompts: list[list[int]], legal: Bools) -> Scores:
        """Scores of all items, [B, items]: of each source in deviations from its mean over the row's legal items.

        -inf where `legal` [B, items] is False.
        """
        model, form = self.recommender.model, self.recommender.form
        with evaluating(model):
            parts = [slice(at, at + BATCH) for at in range(0, len(prompts), BATCH)]
            own = [next_items(model, form, prompts[at], rows.history.take(np.arange(len(rows))[at])) for at in parts]
        blend = _standard(torch.cat(own).cpu().numpy(), legal) * np.float32(1.0 - self.share)
        if self.share:
            blend += _standard(self.ease.scores(rows), legal) * np.float32(self.share)
        return np.where(legal, blend, np.float32(-np.inf))

    def tuned(self, rows: Rows, prompts: list[list[int]], legal: Bools, k: int) -> Teacher:
        """The teacher with the share of EASE that ranks the rows' next items best (NDCG@K)."""

        def ndcg(teacher: Teacher) -> float:
            return metrics.mean(metrics.accuracy("ndcg", rows, top(teacher.scores(rows, prompts, legal), rows, k)))

        return max((replace(self, share=share) for share in SHARES), key=ndcg)


def _standard(scores: Scores, legal: Bools) -> Scores:
    """Each row's scores in deviations from its mean over its legal items; 0 for the others."""
    count = np.maximum(legal.sum(1, keepdims=True), 1).astype(np.float32)
    mean = scores.sum(1, keepdims=True, where=legal) / count
    apart = np.where(legal, scores - mean, np.float32(0.0))
    deviation = np.sqrt((apart**2).sum(1, keepdims=True) / count)
    return np.asarray(apart / np.where(deviation > 0, deviation, np.float32(1.0)), np.float32)


@dataclass
class Lessons:
    """Makes batches for the pupil: prompts at the end of users' training parts, and the teacher's slates for them."""

    teacher: Teacher
    reranking: Reranking
    """Moves on while the pupil learns, where the policy has targets."""
    prompter: Prompter
    rows: Rows
    temperature: float
    further: dict[str, float] = field(default_factory=dict)
    """By how much the teacher aims beyond each target's aim."""

    def aim_further(self, aims: Sequence[Aim], items: Codes, scores: Floats, validation: Validation) -> None:
        """A pupil falls short of its teacher's targets by a little: the teacher then aims further by half of that.

        `aims` has the pupil's values; `items` and `scores`, [B, C], are the teacher's for the validation users.
        """
        for aim in aims:
            self.further[aim.name] = max(0.0, self.further.get(aim.name, 0.0) + float(aim.lacks) / 2)
        moved = [aim.moved(self.further[aim.name]) for aim in aims]
        self.reranking = aimed(self.reranking, items, scores, validation, moved)

    def state_dict(self) -> dict[str, Any]:
        """How far the teacher has been moved on."""
        shown = self.reranking.shown
        return {
            "further": dict(self.further),
            "multipliers": {name: float(value) for name, value in self.reranking.multipliers.items()},
            "shown": None if shown is None else torch.from_numpy(shown.items),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        shown = None if state["shown"] is None else Slates(state["shown"].cpu().numpy())
        self.further = dict(state["further"])
        self.reranking = replace(self.reranking, multipliers=state["multipliers"], shown=shown)

    def __call__(self, examples: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        """One batch as tensors.

        `input_ids`, `attention_mask` [B, T], padded on the left; `words` [B, C] labels of the reasoning and the form,
        IGNORED elsewhere; `places` [B, C] the place of each item token (0 to K - 1), -1 elsewhere; `legal` [B, items];
        `candidates` [B, N] item rows; `wanted` [B, K, N] the teacher's probabilities. C is the longest completion.
        """
        recommender = self.teacher.recommender
        form = recommender.form
        rows = self.rows.take(np.array([example["row"] for example in examples]))
        prompts = recommender.encode(self.prompter.prompts(rows))
        legal = self.reranking.compiled.servable(rows)
        items, likely = likeliest(self.teacher.scores(rows, prompts, legal))
        found = self.reranking.choices(items, likely, rows)
        answers = replace(rows, next_items=Ragged.of([[i for i in slate if i >= 0] for slate in found.slates.tolist()]))
        said = [[*c, form.end] for c in recommender.encode(self.prompter.completions(answers))]
        ids, mask = left_pad([p + c for p, c in zip(prompts, said, strict=True)], form.pad)
        longest = max(map(len, said))
        completion = ids[:, -longest:]
        begun = torch.tensor([longest - len(c) for c in said])[:, None] <= torch.arange(longest)
        item = form.is_item(completion) & begun
        scores = torch.from_numpy(found.scores / self.temperature)  # [B, K, N]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "words": torch.where(begun & ~item, completion, IGNORED),
            "places": torch.where(item, item.cumsum(1) - 1, -1),
            "legal": torch.from_numpy(legal),
            "candidates": torch.from_numpy(np.maximum(found.candidates, 0)).long(),
            "wanted": scores.softmax(-1).nan_to_num().float(),
        }


def likeliest(scores: Scores) -> tuple[Codes, Floats]:
    """The CANDIDATES best items of each row and their scores, best first, both [B, <= CANDIDATES]."""
    most = min(CANDIDATES, scores.shape[1])
    best = np.argpartition(-scores, most - 1, 1)[:, :most]
    order = np.argsort(-np.take_along_axis(scores, best, 1), 1, kind="stable")
    items = np.take_along_axis(best, order, 1)
    return items.astype(np.int32), np.take_along_axis(scores, items, 1).astype(np.float64)


class DistilTrainer(Trainer):
    """Learns the teacher's probabilities at every place of a slate, and the words around it."""

    def __init__(self, recommender: Recommender, lessons: Lessons, **settings: Any) -> None:
        self._form, self._lessons = recommender.form, lessons
        super().__init__(model=recommender.trained, **settings)

    def _prepare_inputs(self, inputs: Any) -> dict[str, Any]:
        """The lessons of a batch's examples.

        They are made when they are learned: a data loader reads ahead, and would ask a teacher that is then moved on.
        """
        made: dict[str, Any] = super()._prepare_inputs(self._lessons(inputs))
        return made

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the examples, of which the trainer asks this, have no tokens yet."""
        return 0

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Mean cross-entropy of the words plus that of the items: each place against the teacher's probabilities.

        Items that may not stand at a place, or stand before it, have no part in either.
        """
        words, places, legal, wanted = (inputs[name] for name in ("words", "places", "legal", "wanted"))
        length = words.shape[1]
        item = inputs["input_ids"][:, -length:] - self._form.item_base  # [B, C], meaningful where an item stands
        row, at = (places >= 0).nonzero(as_tuple=True)
        said_row, said_at = (words != IGNORED).nonzero(as_tuple=True)
        open_ = legal[row]  # [items in the batch, items]
        later, before = ((places[row] >= 0) & (places[row] < places[row, at, None])).nonzero(as_tuple=True)
        open_[later, item[row[later], before]] = False
        of_words, of_items = processes.portion(len(said_row)), processes.portion(len(row))

        def loss(bare: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
            states, _ = prefix.read(bare, ids, mask, use_cache=False)
            states = states[:, -length - 1 : -1]  # [B, C, H]: before each token of the completion
            said = prefix.mean_cross_entropy(bare, states[said_row, said_at], words[said_row, said_at]) * of_words
            logits = prefix.logits(bare, states[row, at, None], self._form.item_columns).squeeze(1).float()
            logp = logits.masked_fill(~open_, -torch.inf).log_softmax(-1).gather(1, inputs["candidates"][row])
            taught = wanted[row, places[row, at]]  # [items in the batch, N]
            return said - (taught * logp.masked_fill(taught == 0, 0.0)).sum(-1).mean() * of_items

        return prefix.inside(model, inputs["input_ids"], inputs["attention_mask"], loss)


def endings(dataset: Dataset, split: Split) -> Rows:
    """A row at the end of each user's training part.

    What these users took next is held out, so neither teacher has seen it: its answers here are as good as its answers
    to new histories, which on earlier cuts they are not.
    """
    users = np.flatnonzero(split.train_end - dataset.start[:-1] >= 2)
    end = split.train_end[users]
    return rows_at(dataset, users, end, 1, end)


def lesson_rows(rows: Rows, count: int, kept: float, seed: int) -> Rows:
    """`count` of the rows, all alike, a random part of each history left out."""
    rng = np.random.default_rng(seed)
    at = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-count // len(rows)))])[:count]
    return thinned(rows.take(at), kept, seed)


def train(
    recommender: Recommender,
    lessons: Lessons,
    settings: Distil,
    training: Training,
    score: Callable[[], Score],
    report: Callable[[int, Score], None],
    start: Score,
) -> Score:
    """Teach in place, ending with the weights that scored best on validation; returns that score.

    `start` is the score of the model as it comes, `score` measures it as it stands, `report` is told each. The pupil
    may start as the teacher's own model, of which `lessons` needs a copy.
    """
    best = BestOnValidation(score, settings.averaging, settings.evaluate_every, settings.steps, report)
    if training.checkpoints.last is None:
        best.begin(recommender.trained, start)
    trainer = DistilTrainer(
        recommender,
        lessons,
        args=TrainingArguments(
            **training.arguments(settings, settings.batch, "distil.batch"),
            warmup_steps=20,
            weight_decay=0.01,
            max_grad_norm=1.0,
            remove_unused_columns=False,
            label_names=["words"],
        ),
        train_dataset=[{"row": row} for row in range(len(lessons.rows))],
        data_collator=list,
        callbacks=[best],
    )
    training.carry_out(trainer, best=best, lessons=lessons)
    return best.restore(recommender.trained)

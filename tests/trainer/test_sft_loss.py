"""Supervised training takes the steps that TRL's own trainer takes with the loss written out."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import SFTTrainer

from recpolicy.demands import Score
from recpolicy.slate import item_token
from recpolicy.table import Ragged
from recpolicy.trainer import sft
from recpolicy.trainer.checkpoints import Checkpoints
from recpolicy.trainer.config import Sft
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.reporting import Reporting


class WrittenOut(SFTTrainer):
    """TRL's trainer with the cross-entropy of items among items and words among words, token by token."""

    def __init__(self, recommender: Recommender, **settings: Any) -> None:
        self.form = recommender.form
        super().__init__(model=recommender.model, processing_class=recommender.tokenizer, **settings)

    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], *_: Any, **__: Any) -> torch.Tensor:
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        base, losses = self.form.item_base, []
        for row, labels in enumerate(inputs["labels"].tolist()):
            for at, label in enumerate(labels):
                if label >= base:
                    losses.append(-logits[row, at - 1, base:].log_softmax(-1)[label - base])
                elif label >= 0:
                    losses.append(-logits[row, at - 1, :base].log_softmax(-1)[label])
        return torch.stack(losses).mean()


def test_the_steps_are_those_of_trl(recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [" ".join(["history", *map(item_token, range(n)), "recommend"]) for n in (1, 4, 2, 7)]
    said = [f"<answer> {item_token(n)} {item_token(11 - n)} </answer>" for n in (8, 9, 5, 7)]
    settings = Sft(steps=3, batch=2, learning_rate=0.01, warmup=0, evaluate_every=3)
    weights = []
    for trainer in (sft.LabelledTokensTrainer, WrittenOut):
        monkeypatch.setattr(sft, "LabelledTokensTrainer", trainer)
        own = replace(recommender, model=deepcopy(recommender.model))
        sft.train(
            own,
            sft.token_rows(own, told, said, Ragged.of([list(range(n)) for n in (1, 4, 2, 7)])),
            settings,
            0,
            Checkpoints.found(tmp_path / trainer.__name__),
            Reporting((), tmp_path, "sft"),
            lambda: Score(0.0, 0.0),
            lambda step, score: None,
        )
        weights.append(torch.cat([p.flatten() for p in own.model.parameters()]))
    before = torch.cat([p.flatten() for p in recommender.model.parameters()])
    assert (weights[0] - before).abs().max() > 0.01
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)

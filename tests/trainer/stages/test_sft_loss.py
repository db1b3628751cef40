"""Checks that supervised training takes the same steps as TRL's trainer."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trl import SFTTrainer

from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.slates import item_token
from recpolicy.evaluation.targets import Score
from recpolicy.trainer.config import Sft
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.stages import sft
from tests.trainer.quiet import quiet


def test_sft_steps_equal_trl(recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [" ".join(["history", *map(item_token, range(n)), "recommend"]) for n in (1, 4, 2, 7)]
    said = [f"<answer> {item_token(n)} {item_token(11 - n)} </answer>" for n in (8, 9, 5, 7)]
    settings = Sft(steps=3, batch=2, learning_rate=0.01, warmup=0, evaluate_every=3)
    weights = []
    for trainer in (sft.LabelledTokensTrainer, SFTTrainer):
        monkeypatch.setattr(sft, "LabelledTokensTrainer", trainer)
        own = replace(recommender, model=deepcopy(recommender.model))
        sft.train(
            own,
            sft.token_rows(own, told, said, Ragged.of([list(range(n)) for n in (1, 4, 2, 7)])),
            settings,
            quiet(tmp_path / trainer.__name__),
            lambda: Score(0.0, 0.0),
            lambda step, score: None,
        )
        weights.append(torch.cat([p.flatten() for p in own.model.parameters()]))
    before = torch.cat([p.flatten() for p in recommender.model.parameters()])
    assert (weights[0] - before).abs().max() > 0.01
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)

"""What the user of a long training is told."""

from __future__ import annotations

import time

import pytest
from transformers import TrainerState

from recpolicy.trainer.stages.training import PACED, Pace


def foretold(monkeypatch: pytest.MonkeyPatch, seconds: float, first: int, steps: int) -> list[str]:
    """What is told in a training that goes on after step `first`, when each step takes so many seconds."""
    told, state = list[str](), TrainerState(global_step=first, max_steps=steps)
    pace = Pace(told.append)
    for step in range(first, steps):
        monkeypatch.setattr(time, "monotonic", lambda at=(step - first) * seconds: at)
        pace.on_step_begin(None, state, None)
        monkeypatch.setattr(time, "monotonic", lambda at=(step - first + 1) * seconds: at)
        state.global_step += 1
        pace.on_step_end(None, state, None)
    return told


def test_a_long_stage_is_foretold_once(monkeypatch: pytest.MonkeyPatch) -> None:
    [told] = foretold(monkeypatch, seconds=9.0, first=0, steps=1000 + PACED)
    assert told.startswith("about 2.5 hours for 1,000 steps more")


def test_what_is_left_after_a_resumption_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    [told] = foretold(monkeypatch, seconds=9.0, first=600, steps=1000 + PACED)
    assert told.startswith("about 1.0 hours for 400 steps more")


def test_of_a_short_one_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert foretold(monkeypatch, seconds=1.0, first=0, steps=1000) == []
    assert foretold(monkeypatch, seconds=1e6, first=0, steps=PACED - 1) == []

"""Checks the time estimate of a long training."""

from __future__ import annotations

import time

import pytest
from transformers import TrainerState

from recpolicy.trainer.stages.training import TIMED_STEPS, TimeEstimate


def foretold(monkeypatch: pytest.MonkeyPatch, seconds: float, first: int, steps: int) -> list[str]:
    """What is told in a training that goes on after step `first`, when each step takes so many seconds."""
    told, state = list[str](), TrainerState(global_step=first, max_steps=steps)
    pace = TimeEstimate(told.append)
    for step in range(first, steps):
        monkeypatch.setattr(time, "monotonic", lambda at=(step - first) * seconds: at)
        pace.on_step_begin(None, state, None)
        monkeypatch.setattr(time, "monotonic", lambda at=(step - first + 1) * seconds: at)
        state.global_step += 1
        pace.on_step_end(None, state, None)
    return told


def test_long_stage_prints_time_estimate_once(monkeypatch: pytest.MonkeyPatch) -> None:
    [told] = foretold(monkeypatch, seconds=9.0, first=0, steps=1000 + TIMED_STEPS)
    assert told.startswith("about 2.5 hours for 1,000 steps more")


def test_estimate_after_resume_counts_remaining_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    [told] = foretold(monkeypatch, seconds=9.0, first=600, steps=1000 + TIMED_STEPS)
    assert told.startswith("about 1.0 hours for 400 steps more")


def test_short_stage_prints_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert foretold(monkeypatch, seconds=1.0, first=0, steps=1000) == []
    assert foretold(monkeypatch, seconds=1e6, first=0, steps=TIMED_STEPS - 1) == []

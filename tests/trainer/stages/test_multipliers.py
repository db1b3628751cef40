"""Checks targets in training: aims, multipliers and early stops."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recpolicy.errors import UsageError
from recpolicy.evaluation.guardrail import SUFFIX
from recpolicy.evaluation.targets import Outcome
from recpolicy.trainer.evaluation.aims import MARGIN, SLACK, Aim, aims, violation
from recpolicy.trainer.stages.monitor import AT_THE_CAP, PATIENCE, TrainingMonitor
from recpolicy.trainer.stages.multipliers import AT_ONCE, CAP, FARTHEST, INTEGRAL, PROPORTIONAL, Controller


def test_aim_adds_interval_margin_to_bound() -> None:
    least = Outcome("variety", ">=", 0.8, 0.78, 0.77, 0.79)
    most = Outcome("calm", "<=", 0.2, 0.3, 0.28, 0.33)
    nobody = Outcome("guests", ">=", 0.5, float("nan"), float("nan"), float("nan"))
    for judged_on, narrower in ((100, 1.0), (400, 0.5)):
        found = aims((least, most, nobody), users=100, judged_on=judged_on)
        assert [a.name for a in found] == ["variety", "calm"]
        margins = [MARGIN * 0.01 * narrower, MARGIN * 0.03 * narrower]
        assert [a.aim for a in found] == pytest.approx([0.8 + margins[0], 0.2 - margins[1]])
        lacks = [0.8 + margins[0] - 0.78, 0.3 - (0.2 - margins[1])]
        assert [a.gap for a in found] == pytest.approx(lacks)
        assert violation(found) == pytest.approx(lacks[0] / 0.8 + lacks[1] / 0.2)
    [edge] = aims((replace(least, bound=0.999, low=0.5),), users=100, judged_on=100)
    assert edge.aim == 1.0, "no measure is larger"


def test_guardrail_aims_at_bound_with_slack() -> None:
    nearly = 0.2 * (1 - SLACK / 2)
    value = Outcome(f"relevance{SUFFIX}", ">=", 0.2, nearly, nearly - 0.03, nearly + 0.03)
    [aim] = aims((value,), users=100, judged_on=400)
    assert aim.aim == 0.2 and aim.gap == pytest.approx(0.2 - nearly) and violation([aim]) == 0.0
    for low, high in ((0.16, 0.22), (0.19, 0.19)):  # how wide its interval is does not matter
        [worse] = aims((replace(value, value=0.19, low=low, high=high),), users=100, judged_on=400)
        assert worse.gap == pytest.approx(0.01) and violation([worse]) == pytest.approx((0.01 - SLACK * 0.2) / 0.2)
    [other] = aims((Outcome("relevance", ">=", 0.2, 0.19, 0.17, 0.21),), users=100, judged_on=400)
    assert other.aim == pytest.approx(0.2 + MARGIN * 0.01)
    assert violation([other]) == pytest.approx(other.gap / 0.2)


def test_target_at_its_aim_is_met_more_often_than_not() -> None:
    rng = np.random.default_rng(0)
    half = 1.96 * 0.1 / 20
    (aim,) = aims((Outcome("t", ">=", 0.8, 0.8, 0.8 - half, 0.8 + half),), 400, 400)
    met, barely = 0, 0
    for _ in range(400):
        judged = rng.normal(aim.aim, 0.1, 400)  # users of a test whose true mean is the aim
        low = judged.mean() - 1.96 * judged.std() / 20
        met += low >= 0.8
        barely += low - aim.aim + 0.8 + half >= 0.8  # had the aim been one half-width beyond
    assert met > 1.2 * barely and 160 < barely < 240
    assert violation(()) == 0.0


def test_controller_reaches_aim_within_bounds() -> None:
    controller = Controller({"variety": 0.1}, scale=1.0)
    value, seen = 0.6, []
    for _ in range(400):
        (multiplier,) = controller.update([Aim("variety", ">=", value, 0.8, 0.8)]).values()
        assert 0.0 <= multiplier <= CAP
        value += 0.2 * (0.6 + 0.1 * multiplier - value)  # settles at .6 + .1 x multiplier, with a lag
        seen.append(value)
    assert value == pytest.approx(0.8, abs=1e-3)
    assert max(seen) < 0.83  # it hardly overshoots
    slack = Controller({"variety": 0.1}, scale=1.0)
    for _ in range(50):
        assert slack.update([Aim("variety", ">=", 0.9, 0.8, 0.8)]) == {"variety": 0.0}


def test_integral_windup_is_clipped_at_cap() -> None:
    controller = Controller({"far": 0.1}, scale=2.0)
    for _ in range(1000):
        assert controller.update([Aim("far", ">=", 0.0, 0.9, 0.9)])["far"] <= 2.0 * CAP
    met = [controller.update([Aim("far", ">=", 1.0, 0.9, 0.9)])["far"] for _ in range(250)]
    assert met[-1] == 0.0


def _log(monitor: TrainingMonitor, step: int, **values: float) -> bool:
    control = SimpleNamespace(should_training_stop=False)
    logs: dict[str, Any] = {"reward": 0.5, "entropy": 1.0, "frac_groups_zero_std": 0.0, "loss": 0.1}
    logs |= {"grad_norm": 1.0} | values
    monitor.on_log(None, SimpleNamespace(global_step=step), control, logs=logs)
    return bool(control.should_training_stop)


def test_equal_rewards_from_start_raise_error() -> None:
    monitor = TrainingMonitor(Controller({}, 1.0), lambda step, logs: None)
    with pytest.raises(UsageError) as error:
        for step in range(1, 100):
            _log(monitor, step, frac_groups_zero_std=1.0, **{"rules/ads": 1.0})
    assert step == PATIENCE == 20
    assert "same reward" in error.value.message and "`ads` is 1" in error.value.help


def test_step_with_signal_resets_silence_count() -> None:
    monitor = TrainingMonitor(Controller({}, 1.0), lambda step, logs: None)
    stopped = [_log(monitor, step, frac_groups_zero_std=float(step != 10)) for step in range(1, 31)]
    assert stopped.index(True) == 29 and "same reward" in str(monitor.stopped)


@pytest.mark.parametrize(
    ("values", "said"),
    [({"entropy": 0.01}, "collapsed"), ({"loss": float("nan")}, "not a number")],
)
def test_collapse_stops_training_with_reason(values: dict[str, float], said: str) -> None:
    monitor = TrainingMonitor(Controller({}, 1.0), lambda step, logs: None)
    for step in range(1, 6):
        assert not _log(monitor, step)
    assert any(_log(monitor, step, **values) for step in range(6, 6 + PATIENCE))
    assert said in str(monitor.stopped)


def test_multiplier_at_cap_stops_training() -> None:
    controller = Controller({"far": 0.1}, 1.0, {"far": CAP})
    monitor = TrainingMonitor(controller, lambda step, logs: None)
    stopped = [_log(monitor, step) for step in range(1, AT_THE_CAP + 1)]
    assert stopped == [False] * (AT_THE_CAP - 1) + [True] and "`far`" in str(monitor.stopped)


def test_error_is_clipped_and_estimate_keeps_integral() -> None:
    controller = Controller({"t": 0.1}, 2.0)
    near, far = (Aim("t", ">=", value, 0.5, 0.5) for value in (0.49, 0.0))
    assert controller.multipliers_for([far]) == {"t": 2.0 * PROPORTIONAL * FARTHEST} and not controller.sums
    assert controller.multipliers_for([near])["t"] == pytest.approx(2.0 * PROPORTIONAL * 0.1)
    raised = controller.update([far])["t"]
    assert controller.sums["t"] == pytest.approx(INTEGRAL * AT_ONCE)
    assert raised == pytest.approx(2.0 * (PROPORTIONAL * FARTHEST + INTEGRAL * AT_ONCE))
    beyond = Aim("t", ">=", 0.6, 0.5, 0.5)
    assert controller.multipliers_for([beyond])["t"] == 0.0 and controller.sums["t"] == pytest.approx(
        INTEGRAL * AT_ONCE
    )

"""Targets and lists made for nothing else in, the targets that even those do not reach out."""

from __future__ import annotations

from collections.abc import Iterator

from recpolicy.analysis import feasibility
from recpolicy.analysis.scene import Scene
from recpolicy.compiler.population import PopulationMetric
from recpolicy.errors import Diagnostic


def targets(scene: Scene) -> Iterator[Diagnostic]:
    """Targets out of reach. Those relative to a baseline, and those on what users took next, are not looked at.

    One on all users together is judged by counting: they are shown so many items, and so many values at the most.
    """
    for compiled in scene.compiled.targets:
        target, metric = compiled.target, compiled.metric
        if target.of_baseline or compiled.needs_labels:
            continue
        if isinstance(metric, PopulationMetric):
            found = feasibility.by_counting(target, metric, scene.everybody, scene.policy.slate)
        else:
            drawn = len(scene.rows) < scene.everybody
            found = feasibility.of_target(scene.compiled, compiled, scene.rows, drawn=drawn)
        if found.met is False:
            span, source, _ = scene.place(target.name, target, bool)
            yield feasibility.finding(found, scene.compiled, span, source)

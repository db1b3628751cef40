"""Finds targets that not even lists built for them alone reach."""

from __future__ import annotations

from collections.abc import Iterator

from recpolicy.analysis import feasibility
from recpolicy.analysis.scene import Scene
from recpolicy.compiler.population import PopulationMetric
from recpolicy.errors import Diagnostic


def targets(scene: Scene) -> Iterator[Diagnostic]:
    """Finds targets out of reach; those relative to a baseline and those on next items are left out.

    A target on all users together is judged by counting the values that so many lists can show.
    """
    for compiled in scene.compiled.targets:
        target, metric = compiled.target, compiled.metric
        if target.of_baseline or compiled.needs_labels:
            continue
        if isinstance(metric, PopulationMetric):
            reach = feasibility.by_counting(target, metric, scene.everybody, scene.policy.slate)
        else:
            drawn = len(scene.rows) < scene.everybody
            reach = feasibility.of_target(scene.compiled, compiled, scene.rows, drawn=drawn)
        if reach.met is False:
            span, source, _ = scene.place(target.name, target, bool)
            yield feasibility.finding(reach, scene.compiled, span, source)

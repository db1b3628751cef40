"""Defines the names of functions and measures, and how each is written."""

from __future__ import annotations

RELEVANCE = ("ndcg", "hit", "recall", "precision", "mrr", "lcs")
SPREAD = ("distance", "distinct", "entropy", "calibration")
PORTION = ("share", "exposure")
AVERAGE = ("mean", "discounted")
MEASURES = (*RELEVANCE, *SPREAD, "novelty", "serendipity", *PORTION, *AVERAGE)
"""What a reward can measure."""
POPULATION = ("coverage", "gini", "largest_share")
"""What a target can measure over the slates of all users together."""
FUNCTIONS = ("min", "max", "abs", "log", "percentile")
HISTORY = ("count", "share", "mean")
"""Functions that are allowed before `of history`."""

FORMS = {
    **{name: f"{name}(next_items)" for name in RELEVANCE},
    **{name: f"{name}(item.COLUMN)" for name in (*SPREAD, "novelty", "serendipity", *POPULATION)},
    **{name: f"{name}(CONDITION)" for name in PORTION},
    **{name: f"{name}(NUMBER)" for name in AVERAGE},
    **{name: f"{name}(a, b)" for name in ("min", "max")},
    **{name: f"{name}(a)" for name in ("abs", "log")},
    "percentile": "percentile(item.COLUMN)",
}
HISTORY_FORMS = {
    "count": "count(CONDITION) of history",
    "share": "share(CONDITION) of history",
    "mean": "mean(NUMBER) of history",
}

"""Measures slates: metrics, baselines, targets with their verdicts, and the decision whether to ship."""

"""Decodes slates: the answer format, the mask of allowed items, sampling, and log-probabilities."""

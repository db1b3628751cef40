"""Trains, evaluates and serves language models: all that needs torch. Imported as `recpolicy.trainer`."""

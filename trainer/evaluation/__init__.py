"""Evaluates recommenders on validation and test users, beside controls that need no training."""

"""Checks the expressions of a policy: operands, conditions, literals and the ranges of values."""

"""Checks the statements of a policy: rules, quotas, blocks, targets, branches, params and tests."""

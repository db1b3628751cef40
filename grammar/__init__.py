"""Holds the grammar of the policy language, `policy.lark`, as package data for `recpolicy.language.parser`."""

"""Provides a declarative policy language for recommenders, compiled into rewards that train an LLM."""

__version__ = "0.1.0"

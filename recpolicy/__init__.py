"""Provides a declarative policy language for recommenders, compiled into rewards that train an LLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recpolicy.api import LoadedPolicy, load

__version__ = "0.1.0"
__all__ = ["LoadedPolicy", "load"]


def __getattr__(name: str) -> Any:
    """Imports the API when it is first used, so that commands that do not need it start at once."""
    if name not in __all__:
        raise AttributeError(f"module `recpolicy` has no attribute `{name}`")
    from recpolicy import api

    return getattr(api, name)

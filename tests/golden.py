"""Golden files: what the program is expected to say, kept beside what it says it of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def compare(text: str, path: Path) -> None:
    """Assert that the file holds the text. With RECPOLICY_GOLDEN, write it there: a test that had to do so fails."""
    held = path.read_text("utf-8") if path.exists() else None
    if text != held and os.environ.get("RECPOLICY_GOLDEN"):
        path.write_text(text, "utf-8")
        pytest.fail(f"rewritten: {path}", pytrace=False)
    assert text == held, f"{path} holds something else: run `make golden`"

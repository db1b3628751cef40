"""Checks that golden files are compared, and that a test which rewrites one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import golden


def test_rewritten_file_fails_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "seen.txt"
    path.write_text("before")
    monkeypatch.delenv("RECPOLICY_GOLDEN", raising=False)
    golden.compare("before", path)
    with pytest.raises(AssertionError, match="make golden"):
        golden.compare("after", path)
    assert path.read_text() == "before"
    monkeypatch.setenv("RECPOLICY_GOLDEN", "1")
    with pytest.raises(pytest.fail.Exception, match="rewritten: "):
        golden.compare("after", path)
    assert path.read_text() == "after"
    golden.compare("after", path)

"""The small platform at two times, as folders and as one catalog."""

from __future__ import annotations

from pathlib import Path

import pytest

from recpolicy.data import Aligned
from tests.recommend.platform import aligned


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def catalog(home: Path) -> Aligned:
    return aligned(home)

"""What the tests of scoring share: one policy over the simulated platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.language import checker
from recpolicy.scoring import Scorer
from tests.scoring.logs import POLICY, simulator


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "scored.policy"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def compiled(policy: Path) -> CompiledPolicy:
    return compile(checker.load(str(policy)), simulator())


@pytest.fixture(scope="module")
def scorer(compiled: CompiledPolicy) -> Scorer:
    return Scorer(compiled, simulator())

"""`ground`: an engine of the test's own with servers on it; both engines in turn in the long run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.ground import Ground, ground


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.long)], name="ground")
def _ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    with ground(tmp_path, request.param) as built:
        yield built

"""The programs of Debian's package prometheus."""

from __future__ import annotations

import pytest

from tests.rig.programs import program


@pytest.fixture(scope="session")
def promtool() -> str:
    """Checks rules and runs their unit tests."""
    return program("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """The server."""
    return program("prometheus")

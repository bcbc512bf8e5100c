"""The programs of Debian's package prometheus."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import missing


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        missing(program)
    return path


@pytest.fixture(scope="session")
def promtool() -> str:
    """Checks rules and runs their unit tests."""
    return _found("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """The server."""
    return _found("prometheus")

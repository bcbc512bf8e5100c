"""The repository and the programs of the machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def missing(what: str) -> NoReturn:
    """Skip here, but fail where CI is set: there everything has to be in place."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing", pytrace=False)
    pytest.skip(f"{what} is not installed")


def program(name: str) -> str:
    """Where a program is; without it the test is skipped, in CI it fails."""
    return shutil.which(name) or missing(name)


def redis_server() -> Path:
    """The system's own Redis, before any other on PATH."""
    system = Path("/usr/bin/redis-server")
    return system if system.exists() else Path(program("redis-server"))

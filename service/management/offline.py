"""Work that reads or writes whole logs, beside serving: evaluations and warm starts, in a process of their own.

Such work keeps an interpreter busy for seconds, and choices must not wait for it. One task at a time: a second one is
refused. The task goes to the child's stdin, as the store's address may hold a password; the answer comes on its stdout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import msgspec

from service import errors
from service.analysis.evaluation import Evaluation, evaluate
from service.analysis.log_table import entries
from service.analysis.trials_from_log import gather, trials_of
from service.errors import (
    ExhaustedError,
    InvalidError,
    LeverError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    Violation,
)
from service.experiment.compiled import read
from service.management.protocols import Offline
from service.management.warm_start import Warmed, Way, undo, warm_start
from service.process.child import die_with
from service.store.contract import Store

TIMEOUT_S = 600.0


class Task(msgspec.Struct):
    """One thing to do: `what` is a method of Offline, `text` its file."""

    what: str
    name: str
    text: str
    url: str
    prefix: str
    parent: int
    way: Way = Way.TEACH


class TaskResult(msgspec.Struct):
    """What came of it; one of the three is there."""

    evaluation: Evaluation | None = None
    warmed: Warmed | None = None
    error: PackedError | None = None


class PackedError(msgspec.Struct):
    """An error of service.errors on its way between processes."""

    kind: str
    message: str
    reason: str
    field: str = ""
    violations: tuple[Violation, ...] = ()


class Local(Offline):
    """Offline in this process, over a store: what the child runs, and enough for tests."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def evaluate(self, name: str, policy: str) -> Evaluation:
        """Offline.evaluate."""
        uid = self._uid(name)
        loaded = self._store.load(uid)
        history = {**loaded.history, **_numbered(loaded.record)}
        return evaluate(trials_of(gather(entries(self._store, uid), history)), policy)

    def warm_start(self, name: str, text: str, way: Way = Way.TEACH) -> Warmed:
        """Offline.warm_start."""
        uid = self._uid(name)
        experiment = read(self._store.load(uid).record)
        now = self._store.poll({}).now
        if way is Way.UNDO:
            return undo(self._store, uid, experiment, text, now)
        return warm_start(self._store, uid, experiment, text, now, judge=way is Way.JUDGE)

    def _uid(self, name: str) -> str:
        uid = self._store.poll({}).registry.get(name)
        if uid is None:
            raise NotFoundError("experiment", f"experiment {name!r} does not exist")
        return uid


class Apart(Offline):
    """Offline in a child process, one task at a time."""

    def __init__(self, url: str, prefix: str = "lever") -> None:
        self._url = url
        self._prefix = prefix
        self._busy = threading.Lock()

    def evaluate(self, name: str, policy: str) -> Evaluation:
        """Offline.evaluate."""
        result = self._run("evaluate", name, policy)
        assert result.evaluation is not None
        return result.evaluation

    def warm_start(self, name: str, text: str, way: Way = Way.TEACH) -> Warmed:
        """Offline.warm_start."""
        result = self._run("warm_start", name, text, way)
        assert result.warmed is not None
        return result.warmed

    def _run(self, what: str, name: str, text: str, way: Way = Way.TEACH) -> TaskResult:
        if not self._busy.acquire(blocking=False):
            raise ExhaustedError("another evaluation or warm start is running here; try again", "BUSY")
        try:
            task = Task(what, name, text, self._url, self._prefix, os.getpid(), way)
            done = subprocess.run(
                [sys.executable, "-m", "service.management.offline"],
                input=msgspec.msgpack.encode(task), stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PreconditionError(f"gave up after {TIMEOUT_S:.0f} s", "TOO_LONG") from None
        finally:
            self._busy.release()
        if done.returncode != 0:
            raise LeverError(f"the process that reads the log ended with status {done.returncode}")
        result = msgspec.msgpack.decode(done.stdout, type=TaskResult)
        if result.error is not None:
            raise _unpacked(result.error)
        return result


def _numbered(record: bytes) -> dict[int, bytes]:
    return {read(record).version: record}


def perform(task: Task) -> TaskResult:
    """Do a task; errors of ours become part of the answer."""
    from service.store.redis import RedisStore

    store = RedisStore(task.url, prefix=task.prefix)
    local = Local(store)
    try:
        if task.what == "evaluate":
            return TaskResult(evaluation=local.evaluate(task.name, task.text))
        return TaskResult(warmed=local.warm_start(task.name, task.text, task.way))
    except LeverError as error:
        return TaskResult(error=_packed(error))
    finally:
        store.close()


def _packed(error: LeverError) -> PackedError:
    field = error.field_name if isinstance(error, NotFoundError) else ""
    violations = error.violations if isinstance(error, InvalidError) else ()
    return PackedError(type(error).__name__, str(error), error.reason, field, violations)


def _unpacked(packed: PackedError) -> LeverError:
    if packed.kind == "InvalidError":
        return InvalidError(packed.violations)
    if packed.kind == "NotFoundError":
        return NotFoundError(packed.field, packed.message)
    if packed.kind == "LostError":  # of the store, which errors.py does not know
        return UnavailableError(packed.message, packed.reason)
    error: LeverError = getattr(errors, packed.kind)(packed.message, packed.reason)
    return error


def main() -> None:
    """Entry point of the child."""
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    die_with(task.parent)
    sys.stdout.buffer.write(msgspec.msgpack.encode(perform(task)))


if __name__ == "__main__":
    main()

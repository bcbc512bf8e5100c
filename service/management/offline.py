"""Work that reads or writes whole logs, beside serving: evaluations, warm starts, tables; in a process of their own.

Such work keeps an interpreter busy for seconds, and choices must not wait for it. One evaluation or warm start at a time:
a second one is refused. The task goes to the child's stdin, as the store's address may hold a password; the answer
comes on its stdout. A log comes in frames, each with its length in front, and the answer behind a frame of none.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO

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
from service.management.log_rows import messages
from service.management.protocols import Offline
from service.management.warm_start import Warmed, Way, undo, warm_start
from service.process.child import die_with
from service.process.priority import stand_behind
from service.store.contract import Store
from service.text.csv_format import Format

TIMEOUT_S = 600.0
_PLAIN = Format()  # a file that is what it looks like
_CHILD = [sys.executable, "-m", "service.management.offline"]
_LENGTH = struct.Struct("<I")


class Task(msgspec.Struct):
    """One thing to do: `what` is a method of Offline, `text` its file or the entry it begins behind."""

    what: str
    name: str
    text: str
    url: str
    prefix: str
    parent: int
    form: Format = Format()
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

    def warm_start(
        self,
        name: str,
        text: str,
        form: Format = _PLAIN,
        way: Way = Way.TEACH,
    ) -> Warmed:
        """Offline.warm_start."""
        uid = self._uid(name)
        experiment = read(self._store.load(uid).record)
        now = self._store.poll({}).now
        if way is Way.UNDO:
            return undo(self._store, uid, experiment, text, now, form)
        return warm_start(self._store, uid, experiment, text, now, form, judge=way is Way.JUDGE)

    def log(self, name: str, after: str) -> Iterator[bytes]:
        """Offline.log."""
        for message in messages(self._store, self._uid(name), after):
            yield message.SerializeToString()

    def _uid(self, name: str) -> str:
        uid = self._store.poll({}).registry.get(name)
        if uid is None:
            raise NotFoundError("experiment", f"experiment {name!r} does not exist")
        return uid


class Apart(Offline):
    """Offline in a child process, one task at a time; logs beside that."""

    def __init__(self, url: str, prefix: str = "lever") -> None:
        self._url = url
        self._prefix = prefix
        self._busy = threading.Lock()

    def evaluate(self, name: str, policy: str) -> Evaluation:
        """Offline.evaluate."""
        result = self._run(self._task("evaluate", name, policy))
        assert result.evaluation is not None
        return result.evaluation

    def warm_start(
        self,
        name: str,
        text: str,
        form: Format = _PLAIN,
        way: Way = Way.TEACH,
    ) -> Warmed:
        """Offline.warm_start."""
        result = self._run(self._task("warm_start", name, text, form, way))
        assert result.warmed is not None
        return result.warmed

    def log(self, name: str, after: str) -> Iterator[bytes]:
        """Offline.log. To close it ends the child."""
        with subprocess.Popen(_CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            late = threading.Timer(TIMEOUT_S, child.kill)
            late.daemon = True
            late.start()
            try:
                with child.stdin as orders:
                    orders.write(msgspec.msgpack.encode(self._task("log", name, after)))
                while frame := _frame(child.stdout):
                    yield frame
                answer = child.stdout.read()
            finally:
                late.cancel()
                child.kill()
        if not answer:
            raise PreconditionError(
                f"it took more than {TIMEOUT_S:.0f} s, or was ended: go on with `after`", "TOO_LONG"
            )
        _checked(answer)

    def _task(
        self,
        what: str,
        name: str,
        text: str,
        form: Format = _PLAIN,
        way: Way = Way.TEACH,
    ) -> Task:
        return Task(what, name, text, self._url, self._prefix, os.getpid(), form, way)

    def _run(self, task: Task) -> TaskResult:
        if not self._busy.acquire(blocking=False):
            raise ExhaustedError("another evaluation or warm start is running here; try again", "BUSY")
        try:
            done = subprocess.run(
                _CHILD, input=msgspec.msgpack.encode(task), stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise PreconditionError(f"gave up after {TIMEOUT_S:.0f} s", "TOO_LONG") from None
        finally:
            self._busy.release()
        if done.returncode != 0:
            raise LeverError(f"the process that reads the log ended with status {done.returncode}")
        return _checked(done.stdout)


def _checked(answer: bytes) -> TaskResult:
    result = msgspec.msgpack.decode(answer, type=TaskResult)
    if result.error is not None:
        raise _unpacked(result.error)
    return result


def _frame(stream: IO[bytes]) -> bytes:
    """The next frame of a log; nothing at its end, or where the child was ended."""
    head = stream.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    frame = stream.read(length)
    return frame if len(frame) == length else b""


def _numbered(record: bytes) -> dict[int, bytes]:
    return {read(record).version: record}


def perform(task: Task, out: IO[bytes]) -> TaskResult:
    """Do a task; errors of ours become part of the answer. A log is written to `out`, frame by frame."""
    from service.store.redis import RedisStore

    store = RedisStore(task.url, prefix=task.prefix)
    local = Local(store)
    try:
        if task.what == "evaluate":
            return TaskResult(evaluation=local.evaluate(task.name, task.text))
        if task.what == "warm_start":
            return TaskResult(warmed=local.warm_start(task.name, task.text, task.form, task.way))
        for frame in local.log(task.name, task.text):
            out.write(_LENGTH.pack(len(frame)) + frame)
        return TaskResult()
    except LeverError as error:
        return TaskResult(error=_packed(error))
    finally:
        store.close()
        if task.what == "log":
            out.write(_LENGTH.pack(0))


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
    stand_behind()
    out = sys.stdout.buffer
    out.write(msgspec.msgpack.encode(perform(task, out)))


if __name__ == "__main__":
    main()

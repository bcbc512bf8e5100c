"""`lever doctor`: what was looked at (Seen), what is found (Finding), and the tables of checks over it.

Looking comes first and asks each part once; a check is a small function that reads what was seen, and says in words
what is wrong and what to do. A check whose part could not be looked at is skipped, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.process.settings import Settings
from service.store.vitals import Vitals

OK, WARNING, PROBLEM, SKIPPED = "ok", "warning", "problem", "skipped"
Labels = frozenset[tuple[str, str]]
Metrics = Mapping[str, Mapping[Labels, float]]  # by sample name, then by labels

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says; `todo` is for the operator, empty where all is well."""

    check: str
    result: str
    said: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding before it is known which check made it."""

    result: str
    said: str
    todo: str = ""


def ok(said: str) -> Diagnosis:
    """All is well."""
    return Diagnosis(OK, said)


def warning(said: str, todo: str = "") -> Diagnosis:
    """It works, and may not for long, or not as one might think."""
    return Diagnosis(WARNING, said, todo)


def problem(said: str, todo: str) -> Diagnosis:
    """It does not work, or loses what it should keep."""
    return Diagnosis(PROBLEM, said, todo)


class SkipError(Exception):
    """There is nothing to check; the text says why."""


@dataclass(frozen=True)
class Seen:
    """What was looked at. A part that could not be has its reason in its place, a text."""

    settings: Settings
    server: str  # its address
    http: str  # URL of its side port
    health: Mapping[str, bool] | str  # health by service name; a text where nobody answers
    metrics: Metrics | str
    server_clock: float | None  # seconds since 1970 as the server says, to the second
    readyz: str
    store: Sequence[Vitals] | str  # one for each primary of a cluster
    now: float  # seconds since 1970, here

    @property
    def starting(self) -> str:
        """What the server says while a worker of it starts and has not asked for its store yet, else ""."""
        told = [line.partition(": ")[2] for line in self.readyz.splitlines()[1:]]
        return next((why for why in told if why.startswith("starting")), "")

    def series(self, name: str, label: str = "experiment") -> dict[str, float]:
        """The samples of a metric by one of its labels, the largest where several share it. Raises SkipError."""
        found: dict[str, float] = {}
        for labels, value in self.measured.get(name, {}).items():
            key = dict(labels).get(label, "")
            found[key] = max(value, found.get(key, value))
        return found

    @property
    def measured(self) -> Metrics:
        """The metrics, or SkipError."""
        return _there(self.metrics, "/metrics could not be read")

    @property
    def engines(self) -> Sequence[Vitals]:
        """What the engines of the store say of themselves, or SkipError."""
        return _there(self.store, "the store could not be asked")


Check = tuple[str, Callable[[Seen], Diagnosis]]


def examine(seen: Seen, checks: Iterable[Check]) -> list[Finding]:
    """Run every check; none can keep the others from being run."""
    found = []
    for name, check in checks:
        try:
            diagnosis = check(seen)
        except SkipError as why:
            diagnosis = Diagnosis(SKIPPED, str(why))
        found.append(Finding(name, diagnosis.result, diagnosis.said, diagnosis.todo))
    return found


def ago(seconds: float) -> str:
    """A length of time for people."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def day(at: float) -> str:
    """A date for people."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _there(part: Part | str, why: str) -> Part:
    if isinstance(part, str):
        raise SkipError(why)
    return part

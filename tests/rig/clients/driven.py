"""A client in a process of its own that does what it is told: a line of JSON in, a line of JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.rig.clients.node import environment
from tests.rig.programs import ROOT
from tests.rig.waiting import eventually

DRIVERS = ROOT / "tests/clients/drivers"


@dataclass
class Driven:
    """One client, of one experiment."""

    process: subprocess.Popen[str]

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """What it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"it ended: {self.process.wait(20)}"
        return dict(json.loads(line))

    def choose(self, *subjects: str) -> list[str]:
        """Decisions of these subjects, shown. On a busy machine a choice may come too late: it is asked again."""
        return [eventually(partial(self._choose, subject)) for subject in subjects]

    def _choose(self, subject: str) -> str:
        return str(self.ask("choose", subject=subject)["decision"])

    def lost(self) -> int:
        """Events that the caller was told are lost."""
        return sum(self.ask("lost").values())


def python(script: str, *arguments: str) -> list[str]:
    """The command of a driver in Python."""
    return [sys.executable, str(DRIVERS / script), *arguments]


@contextmanager
def driven(command: Sequence[str], where: Path) -> Iterator[Driven]:
    """A driver for as long as the block."""
    env = environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "service/client/python")])}
    with subprocess.Popen(
        command, cwd=where, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Driven(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()

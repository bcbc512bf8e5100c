"""What is attacked: the addresses of a server on this machine, and how long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Three ports of one server."""

    grpc: str
    operator: str
    web: str
    seconds: float

    def text(self) -> str:
        """As `read` takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Target:
        """ValueError unless all of it is on this machine."""
        made = cls(**json.loads(text))
        if any(not address.startswith("127.0.0.1:") for address in (made.grpc, made.operator, made.web)):
            raise ValueError("only what is on 127.0.0.1 is attacked")
        return made

    def turns(self, pause_s: float = 0.0) -> Iterator[int]:
        """Numbers until the time is over."""
        end, number = time.monotonic() + self.seconds, 0
        while time.monotonic() < end:
            yield number
            number += 1
            time.sleep(pause_s)


def attacking(name: str, target: Target) -> subprocess.Popen[bytes]:
    """A process that attacks, started: attack.py. In a session of its own, as Linux shares out the cores among those first."""
    command = [sys.executable, "-m", "loadtest.endurance.hostile.attack", name, target.text()]
    return subprocess.Popen(command, start_new_session=True)


Attack = Callable[[Target], None]

"""BanditDB as a rival, where `banditdb` is on PATH: a campaign of each shape, taught some hundred trials."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from loadtest.rig.server import ServerError, free_ports

ALGORITHMS = {"linucb": "linucb", "lints": "thompson_sampling"}
START_S = 20.0


class BanditDB:
    """A running one."""

    def __init__(self, address: str, process: subprocess.Popen[bytes]) -> None:
        self.address, self.pid = address, process.pid

    def campaign(self, name: str, algorithm: str, arms: int, rows: list[list[float]]) -> None:
        """Create one, and teach it a trial a row."""
        width = len(rows[0])
        made = {"campaign_id": name, "arms": [f"a{i}" for i in range(arms)], "feature_dim": width}
        self.ask("/campaign", made | {"algorithm": ALGORITHMS[algorithm]})
        for number, row in enumerate(rows):
            told = json.loads(self.ask("/predict", {"campaign_id": name, "context": row}))
            self.ask("/reward", {"interaction_id": told["interaction_id"], "reward": float(number % 5 == 0)})

    def ask(self, path: str, body: dict[str, object]) -> bytes:
        """POST; what it answered. HTTPError."""
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"http://{self.address}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  # http, this machine
            told: bytes = answer.read()
        return told


@contextlib.contextmanager
def banditdb(folder: Path) -> Iterator[BanditDB | None]:
    """One for as long as the block, without its limit of calls a second; None where it is not installed. ServerError."""
    binary = shutil.which("banditdb")
    if binary is None:
        yield None
        return
    (port,) = free_ports(1)
    data = folder / "banditdb"
    data.mkdir()
    own = {"PORT": str(port), "DATA_DIR": str(data), "BANDITDB_RATE_LIMIT_PER_SEC": "1000000", "RUST_LOG": "error"}
    with subprocess.Popen(
        [binary], env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as it:
        try:
            until = time.monotonic() + START_S
            while not _answers(port):
                if time.monotonic() > until or it.poll() is not None:
                    raise ServerError("banditdb does not answer")
                time.sleep(0.05)
            yield BanditDB(f"127.0.0.1:{port}", it)
        finally:
            it.kill()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
            return True
    except urllib.error.HTTPError:
        return True  # it speaks
    except OSError:
        return False

"""A real Prometheus with the shipped rules in less time, and the account of which alert fired when."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from loadtest.rig.server import free_ports
from tests.rig.ruleset import FILES, FOLDER, alerts, hastened
from tests.rig.waiting import eventually

FASTER = 100  # an hour is 36 s
EVERY = "500ms"  # scrapes and evaluations: six of the former in the shortest window, 5m
DEADLINE_S = 180.0


class Watch:
    """Looks four times a second which alerts fire."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Condition()
        self._firing: dict[tuple[str, str], float] = {}  # alert and what it is of, since when
        self._stop = threading.Event()
        self.said: set[str] = set()  # summaries and descriptions of what fired
        self.rows: list[tuple[str, str, float]] = []  # alert, fault, seconds until it fired
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Once Prometheus is ready."""
        deadline = time.monotonic() + 60.0
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5).close()
                break
            assert time.monotonic() < deadline, "Prometheus did not start"
            time.sleep(0.1)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def firing(self, of: str = "") -> dict[str, float]:
        """Alerts that fire now, of this experiment or pool if one is given; and since when."""
        with self._lock:
            return {name: since for (name, its), since in self._firing.items() if of in ("", its)}

    @contextlib.contextmanager
    def expect(self, fault: str, *names: str, of: str = "") -> Iterator[None]:
        """The fault comes with the block; wait at its end until all these alerts fire, which did not before."""
        assert set(names) <= set(alerts())
        eventually(lambda: not set(names) & set(self.firing(of)))
        begun = time.monotonic()
        yield
        with self._lock:
            for name in names:
                fired = self._lock.wait_for(lambda name=name: name in self.firing(of), DEADLINE_S)  # type: ignore[misc]
                assert fired, f"{name} did not fire within {DEADLINE_S:.0f} s of: {fault}"
                self.rows.append((name, fault, self.firing(of)[name] - begun))

    def _run(self) -> None:
        while not self._stop.wait(0.25):
            try:
                found = self._get("/api/v1/alerts")["alerts"]
            except OSError:  # busy; what fires stays as it was
                continue
            now = [one for one in found if one["state"] == "firing"]
            keys = [(one["labels"]["alertname"], _of(one["labels"])) for one in now]
            with self._lock:
                self.said |= {text for one in now for text in one["annotations"].values()}
                self._firing = {key: self._firing.get(key, time.monotonic()) for key in keys}
                self._lock.notify_all()

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self._address}{path}", timeout=5) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data


@contextlib.contextmanager
def watching(program: str, folder: Path, targets: Mapping[str, str]) -> Iterator[Watch]:
    """Prometheus scrapes these targets (name to host:port) for as long as the block."""
    for file in FILES:
        (folder / file).write_text(hastened((FOLDER / file).read_text(), FASTER))
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
    config["scrape_configs"][0]["static_configs"] = [
        {"targets": [address], "labels": {"instance": name}} for name, address in targets.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    watch = Watch(f"127.0.0.1:{port}")
    try:
        watch.start()
        yield watch
    finally:
        watch.stop()
        process.terminate()
        process.wait(30)


def _of(labels: dict[str, str]) -> str:
    """The experiment or the pool that an alert is about."""
    return labels.get("experiment") or labels.get("pool", "")

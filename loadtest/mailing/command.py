"""`python -m loadtest mail`: a list of recipients from CSV to CSV, once undisturbed and once killed at random moments.

Ten arms, 16 columns, nothing known beforehand. CPU is the processes' own account, so that a rate per core can be told on a
machine that is busy with other things too; memory is that of all processes together, a page that several share
counted once (PSS).
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc

from loadtest.mailing import bulk
from loadtest.mailing.people import EXPERIMENTS, Choices, read_choices, write_people
from loadtest.rig import report
from loadtest.rig.processes import cpu_s, proportional_mb, resident_mb
from loadtest.rig.server import Server, ServerError

_LOOK_S = 0.05
_EVENTS = 300_000  # decisions that are exposed and rewarded in bulk


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest mail", description=__doc__)
    made.add_argument("--recipients", type=int, default=1_000_000)
    made.add_argument("--kills", type=int, default=3)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 where everybody was chosen for once."""
    options = parser().parse_args(arguments)
    out = report.console()
    try:
        with tempfile.TemporaryDirectory(prefix="lever-mail-") as folder:
            record = _run(Path(folder), options)
    except (ServerError, grpc.RpcError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    out.print_json(data=record)
    if options.json:
        report.emit(record)
    return 1 if record["missing"] or record["double"] else 0


def _run(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    people = folder / "recipients.csv"
    write_people(people, options.recipients, options.seed)
    experiments = folder / "experiments"
    experiments.mkdir()
    for name, text in EXPERIMENTS.items():
        (experiments / f"{name}.yaml").write_text(text)
    with Server(folder / "server", "--experiments", str(experiments)) as server:
        calm = Mailing(server, "calm", people, folder / "calm.csv")
        calm.run()
        killed = Mailing(server, "killed", people, folder / "killed.csv")
        kills = killed.run_killed(options.kills, random.Random(options.seed))
        found = [read_choices(folder / f"{name}.csv", options.recipients) for name in ("calm", "killed")]
        events = bulk.measure(server, folder / "calm.csv", min(_EVENTS, options.recipients))
    return _record(options.recipients, kills, calm, found, events)


def _record(
    recipients: int, kills: int, calm: Mailing, found: Sequence[Choices], events: dict[str, float]
) -> dict[str, object]:
    cpu = {name: 1e6 * seconds / recipients for name, seconds in calm.cpu.items()}
    return {
        "recipients": recipients,
        "choices_per_s": round(recipients / calm.seconds),
        "choices_per_cpu_s": round(1e6 / sum(cpu.values())),
        "cpu_us_per_choice": {name: round(us, 2) for name, us in cpu.items()},
        "rss_mb": round(calm.memory_mb),
        "rss_mb_shared_pages_counted_often": round(calm.resident_mb),
        "kills": kills,
        "missing": sum(one.missing for one in found),
        "double": sum(one.double for one in found),
        "effective_share": round(min(one.effective_share for one in found), 3),
        **events,
        "machine": report.machine(),
    }


class Mailing:
    """`lever mail` of one experiment."""

    def __init__(self, server: Server, experiment: str, people: Path, out: Path) -> None:
        self._server, self._out = server, out
        self._command = [
            sys.executable, "-m", "service", "mail", experiment, "--in", str(people), "--out", str(out),
            "--exposure", "delivered", "--columns", "subject=email", "--server", server.address,
        ]  # fmt: skip
        self._bytes = people.stat().st_size
        self.seconds = self.memory_mb = self.resident_mb = 0.0
        self.cpu: dict[str, float] = {}

    def run(self) -> None:
        """To its end. ServerError."""
        others = {"worker": self._server.workers(), "store": self._server.children("-server ")}
        everyone = [self._server.pid, *self._server.children()]
        before = {name: cpu_s(*pids) for name, pids in others.items()}
        begun = time.monotonic()
        with subprocess.Popen(self._command, stdout=subprocess.DEVNULL) as mailing:
            while mailing.poll() is None:
                with contextlib.suppress(OSError):
                    self.cpu["mail"] = cpu_s(mailing.pid)
                    self.memory_mb = max(self.memory_mb, proportional_mb(mailing.pid, *everyone))
                    self.resident_mb = max(self.resident_mb, resident_mb(mailing.pid, *everyone))
                time.sleep(_LOOK_S)
        self.seconds = time.monotonic() - begun
        self.cpu |= {name: cpu_s(*pids) - before[name] for name, pids in others.items()}
        if mailing.returncode:
            raise ServerError("the mailing ended with an error")

    def run_killed(self, kills: int, rng: random.Random) -> int:
        """To its end, killed at random moments; how often it was, before it had come to it."""
        part, done = self._out.with_name(f"{self._out.name}.part"), 0
        for share in sorted(rng.random() for _ in range(kills)):
            with subprocess.Popen(self._command, stdout=subprocess.DEVNULL) as mailing:
                # A row of choices is some five times as long as one of the list.
                while mailing.poll() is None and _size(part) < share * 5 * self._bytes:
                    time.sleep(0.01)
                time.sleep(rng.random() * 0.3)
                mailing.send_signal(signal.SIGKILL)
            done += mailing.returncode < 0
        self.run()
        return done


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

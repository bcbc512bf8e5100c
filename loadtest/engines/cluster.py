"""A real cluster on loopback: primaries with a replica each, which can be killed, started again, and made to give slots away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import redis
from redis.crc import key_slot

from loadtest.engines.engine import START_S, Engine, wait
from loadtest.rig.server import free_ports

SLOTS = 16384
FAILOVER_S = 60.0
_TELLS = ("--save", "", "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--appendonly", "yes")


class Member(Engine):
    """One engine of a cluster."""

    def __init__(
        self, binary: Path, folder: Path, ports: tuple[int, int], options: Sequence[str], tls: Path | None = None
    ) -> None:
        bus = ("--cluster-port", str(ports[1]), *(("--tls-cluster", "yes") if tls is not None else ()))
        super().__init__(binary, folder, ports[0], (*bus, *_TELLS, *options), tls)

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        return str(self.ask("CLUSTER", "MYID").decode())


class Cluster:
    """The members, half of them replicas at first."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)

    @property
    def url(self) -> str:
        """Two of its nodes: either is enough."""
        return f"redis://127.0.0.1:{self.members[0].port},127.0.0.1:{self.members[1].port}"

    def primary(self, slot: int) -> Member:
        """Which has the slot now, as those say that answer."""
        by_port = {member.port: member for member in self.members}
        for member in self.members:
            with contextlib.suppress(redis.RedisError):
                for first, last, owner in _slots(member):
                    if first <= slot <= last:
                        return by_port[owner]
        raise LookupError(f"nobody has slot {slot}")

    def primaries(self) -> list[Member]:
        """All that have slots."""
        by_port = {member.port: member for member in self.members}
        for member in self.members:
            with contextlib.suppress(redis.RedisError):
                return [by_port[port] for port in dict.fromkeys(owner for _, _, owner in _slots(member))]
        raise LookupError("nobody answers")

    def replicas(self, member: Member) -> list[Member]:
        """Those that follow it."""
        return [one for one in self.members if one is not member and _follows(one, member)]

    def fail(self, member: Member, behind_s: float = 0.0) -> float:
        """Kill a primary; seconds until its replica has taken over. For `behind_s` before that its replicas are away."""
        copies = self.replicas(member) if behind_s else []
        for one in copies:  # a pause would not do: what the system holds for them by then still arrives
            one.kill()
        time.sleep(behind_s)
        begun, held = time.monotonic(), {member.port}
        member.kill()
        for one in copies:
            one.start()
        wait(lambda: held.isdisjoint(one.port for one in self._as_seen_by_others(member)), FAILOVER_S)
        return time.monotonic() - begun

    def back(self, member: Member) -> None:
        """Start it again; it becomes a replica, and is in step."""
        member.start()
        wait(member.in_step, FAILOVER_S)

    def move(self, slot: int, to: Member, pause: Callable[[], object] = lambda: None) -> None:
        """Give a slot to another primary, key by key, as every version can. `pause` is called before each key."""
        source = self.primary(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            for key in keys:
                pause()
                source.ask("MIGRATE", "127.0.0.1", to.port, key, 0, 5000, "REPLACE")
        for member in (to, source, *self.primaries()):
            member.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    def close(self) -> None:
        """Kill all."""
        for member in self.members:
            member.kill()

    def _as_seen_by_others(self, member: Member) -> list[Member]:
        by_port = {one.port: one for one in self.members}
        seen: set[int] = set()
        for one in self.members:
            if one is not member:
                with contextlib.suppress(redis.RedisError):
                    seen |= {owner for _, _, owner in _slots(one)}
        return [by_port[port] for port in seen]


def _follows(member: Member, primary: Member) -> bool:
    with contextlib.suppress(redis.RedisError):
        told = member.client.info("replication")
        return bool(told["role"] == "slave" and told["master_port"] == primary.port)
    return False


def _slots(member: Member) -> list[tuple[int, int, int]]:
    """First and last slot of each range, and the port of its primary, as a member sees it."""
    return [(first, last, owner[1]) for first, last, owner, *_ in member.ask("CLUSTER", "SLOTS")]


def slot_of(name: str) -> int:
    """Of all keys with this tag."""
    return key_slot(name.encode())


@contextlib.contextmanager
def cluster(
    binary: Path,
    folder: Path,
    primaries: int = 3,
    replicas: int = 1,
    options: Sequence[str] = (),
    timeout_ms: int = 1000,
    tls: Path | None = None,
) -> Iterator[Cluster]:
    """A cluster in step for as long as the block; `options` of every engine, `tls` as of an Engine."""
    count = primaries * (1 + replicas)
    ports = free_ports(2 * count)
    told = ("--cluster-node-timeout", str(timeout_ms), "--repl-diskless-sync-delay", "0", *options)
    members = [Member(binary, folder / str(i), (ports[2 * i], ports[2 * i + 1]), told, tls) for i in range(count)]
    made = Cluster(members)
    try:
        for member in members:
            member.start()
        _join(members, primaries)
        yield made
    finally:
        made.close()


def _join(members: Sequence[Member], primaries: int) -> None:
    heads = members[:primaries]
    for i, member in enumerate(heads):
        member.ask("CLUSTER", "ADDSLOTSRANGE", SLOTS * i // primaries, SLOTS * (i + 1) // primaries - 1)
        member.ask("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
    for member in members[1:]:
        bus = next(iter(member.client.config_get("cluster-port").values()))
        members[0].ask("CLUSTER", "MEET", "127.0.0.1", member.port, bus)
    wait(lambda: all(_known(member) == len(members) for member in members), START_S)
    for i, member in enumerate(members[primaries:]):
        member.ask("CLUSTER", "REPLICATE", heads[i % primaries].id)
    wait(lambda: all(member.in_step() for member in members[primaries:]), START_S)
    wait(lambda: all(len(_slots(member)) >= primaries and _ok(member) for member in members), START_S)


def _known(member: Member) -> int:
    nodes = [line for line in member.ask("CLUSTER", "NODES").decode().splitlines() if line]
    return sum("handshake" not in line and "noaddr" not in line for line in nodes)


def _ok(member: Member) -> bool:
    return b"cluster_state:ok" in member.ask("CLUSTER", "INFO")

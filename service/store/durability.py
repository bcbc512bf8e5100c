"""What an acknowledged reward survives, told from what the store says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.errors import UnavailableError

_SURVIVES = {
    "always": "acknowledged rewards survive a crash of any process and a power loss",
    "everysec": "acknowledged rewards survive a crash of Lever; up to 2 s of them may go with the store",
    "no": "acknowledged rewards survive a crash of Lever; what the system had not written may go with the store",
}
_UNKNOWN = "acknowledged rewards survive a crash of Lever; what they survive in the store is not known here"
_NONE = "acknowledged rewards survive a crash of Lever and are gone with the store: it has no append-only file"


def durability(facts: Mapping[str, str]) -> str:
    """What an acknowledged reward survives with a store of these facts (Engine.facts).

    Raises UnavailableError where the store may evict: an evicted claim would let a reward be counted twice.
    """
    eviction = facts.get("eviction", "unknown")
    if eviction not in ("noeviction", "unknown"):
        raise UnavailableError(
            f"the store evicts keys ({eviction}), which would count rewards twice: set maxmemory-policy noeviction",
            "STORE_EVICTS",
        )
    fsync = facts.get("fsync", "unknown")
    if fsync.startswith("none"):
        return _NONE
    return _SURVIVES.get(fsync, _UNKNOWN)


def engine_facts(info: Mapping[str, str], fsync: str) -> dict[str, str]:
    """Engine.facts of one engine, from its INFO and what it says of appendfsync ("" where it does not)."""
    valkey = info.get("valkey_version")
    limit = int(info.get("maxmemory", "0"))
    return {
        "engine": "valkey" if valkey else "redis",
        "version": valkey or info.get("redis_version", "unknown"),
        "eviction": info.get("maxmemory_policy", "unknown"),
        "memory": f"{info.get('used_memory', '?')} of {limit or 'unlimited'} bytes",
        "fsync": _fsync(info, fsync),
    }


def together(facts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The facts of a store of several engines: what is worst of them holds for all."""
    if len(facts) == 1:
        return dict(facts[0])
    worst = {
        "eviction": max(
            (one["eviction"] for one in facts), key=lambda policy: (policy != "noeviction", policy != "unknown")
        ),
        "fsync": max((one["fsync"] for one in facts), key=_weakness),
        "memory": "; ".join(one["memory"] for one in facts),
    }
    said = {name: "/".join(sorted({one[name] for one in facts})) for name in ("engine", "version")}
    return {**said, **worst}


def _fsync(info: Mapping[str, str], fsync: str) -> str:
    if "aof_enabled" not in info:
        return "unknown"
    if info["aof_enabled"] != "1":
        return "none (no append-only file)"
    return fsync or "unknown (append-only file)"


def _weakness(fsync: str) -> int:
    return ("always", "everysec", "no").index(fsync) if fsync in _SURVIVES else 4 if fsync.startswith("none") else 3

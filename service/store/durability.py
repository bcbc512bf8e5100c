"""What an acknowledged reward survives, told from what the store says of itself."""

from __future__ import annotations

from collections.abc import Mapping

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

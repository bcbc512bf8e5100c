"""What the store says of itself, and what of Lever's promise holds with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from service.doctor.findings import OK, PROBLEM, WARNING, Check, Diagnosis, Seen, SkipError, ago, ok, problem, warning
from service.errors import LeverError
from service.process.settings import Settings, hidden
from service.store.durability import durability
from service.store.embedded import OLDEST, Embedded
from service.store.vitals import Vitals, vitals

FULL, FILLING = 0.95, 0.8  # shares of the memory
OFFSET_S = 1.0
DISK_SHARE = 0.1  # of the disk that should be free


def look(settings: Settings) -> Sequence[Vitals] | str:
    """What the store says, or why it says nothing."""
    try:
        return vitals(settings.redis_url or Embedded(settings.data_dir).attach())
    except ValueError:  # of the URL's parts; its text may quote the password
        return "the URL is not understood"
    except (LeverError, OSError) as error:
        return str(error)


def _store(seen: Seen) -> Diagnosis:
    given = hidden(seen.settings.redis_url) or f"the embedded store in {seen.settings.data_dir}"
    if isinstance(seen.store, str):
        todo = "start it; or name the one in use with --redis-url (LEVER_REDIS_URL)"
        if not seen.settings.redis_url:
            log = seen.settings.data_dir / "engine.log"
            todo = f"`lever serve` starts it, and {log} says why it does not run; or name the one in use: LEVER_DATA_DIR, LEVER_REDIS_URL"
        return problem(f"{given}: {seen.store}", todo)
    info = seen.store[0].info
    if not info:
        todo = "version, eviction, memory and replication are not known here: allow it, `ACL SETUSER NAME +info +config|get`"
        return warning(f"{given} answers, but forbids INFO to its user", todo)
    engine = "Valkey" if "valkey_version" in info else "Redis"
    said = f"{engine} {info.get('valkey_version') or info.get('redis_version', 'unknown')}"
    spoken = info.get("redis_version", "")  # Valkey tells there which Redis it is compatible with
    if spoken and tuple(int(part) for part in spoken.split(".")[:2] if part.isdecimal()) < OLDEST:
        return problem(f"{said} is too old", "Lever needs Redis 6.2, any Valkey, or newer")
    if info.get("loading") == "1":
        return problem(f"{said} is still loading its file", "wait; rewards are refused until it has read it")
    if info.get("cluster_enabled") == "1":
        said = f"a cluster of {len(seen.store)} primaries, {said}"
    return ok(f"{said}, {given}")


def _same(seen: Seen) -> Diagnosis:
    served, stored = set(seen.series("lever_snapshot_age_seconds")), seen.engines[0].experiments
    if served - stored:
        todo = "is this the server's store? See --redis-url and --data-dir; if it is, see `lost`"
        return warning(f"served, but not in this store: {', '.join(sorted(served - stored))}", todo)
    return ok(
        f"the {len(stored)} experiments of the store are those that are served" if served else "nothing is served"
    )


def _eviction(engine: Vitals) -> Diagnosis:
    policy = engine.info.get("maxmemory_policy", "")
    if not policy:
        return warning("the store does not report its maxmemory-policy", "make sure that it is noeviction")
    if policy != "noeviction":
        said = f"maxmemory-policy is {policy}: an evicted record lets a reward be counted twice"
        return problem(said, "`CONFIG SET maxmemory-policy noeviction`, and the same in the store's own configuration")
    return ok(policy)


def _fsync(engine: Vitals) -> Diagnosis:
    info, fsync = engine.info, engine.fsync
    if "aof_enabled" not in info:
        todo = "ask whoever runs it: an append-only file with `appendfsync always` keeps them"
        return warning(f"the store does not report how it keeps data: {durability({})}", todo)
    if info["aof_enabled"] != "1":
        todo = "`CONFIG SET appendonly yes`, and the same in the store's own configuration"
        return problem(durability({"fsync": "none"}), todo)
    said = f"appendfsync {fsync or 'is not told'}: {durability({'fsync': fsync or 'unknown'})}"
    if fsync == "always":
        return ok(said)
    return warning(said, "`appendfsync always` keeps them, if the disk is up to it (docs/guarantees.md)")


def _persistence(engine: Vitals) -> Diagnosis:
    info = engine.info
    names = {
        "aof_last_write_status": "the append-only file",
        "aof_last_bgrewrite_status": "its rewriting",
        "rdb_last_bgsave_status": "saving the dump",
    }
    if not info.keys() & names.keys():
        raise SkipError("the store does not report it")
    failed = [what for name, what in names.items() if info.get(name, "ok") != "ok"]
    if failed:
        todo = "see the store's log and its disk: full, read-only, or no memory to fork"
        return problem(f"the store failed at {', '.join(failed)}", todo)
    return ok("the last write, rewrite and dump went well")


def _memory(engine: Vitals) -> Diagnosis:
    info = engine.info
    used, limit = _number(info, "used_memory"), _number(info, "maxmemory")
    whole = limit or _number(info, "total_system_memory")
    of = "maxmemory" if limit else "the machine's memory, with no maxmemory set"
    if not whole:
        raise SkipError("the store does not report it")
    said = f"{used / whole:.0%} of {of} ({used >> 20:,} MB of {whole >> 20:,} MB)"
    if used > FULL * whole:
        return problem(
            said, "at the limit rewards are refused: raise maxmemory, or delete what is over (`lever delete`)"
        )
    return warning(said, "plan for more memory, or delete what is over") if used > FILLING * whole else ok(said)


def _replication(engine: Vitals) -> Diagnosis:
    info = engine.info
    if "role" not in info:
        raise SkipError("the store does not report it")
    if info["role"] == "slave":
        link = info.get("master_link_status", "unknown")
        return problem(f"this is a replica (its link is {link}), which takes no writes", "give the primary's address")
    count = _number(info, "connected_slaves")
    replicas = [info.get(f"slave{index}", "") for index in range(count)]
    behind = [index for index, replica in enumerate(replicas) if replica and "state=online" not in replica]
    if behind:
        return warning(f"{len(behind)} of {count} replicas are not in step", "see the replica's log")
    if not count:
        return ok("a primary without replicas: its disk holds the only copy")
    return ok(f"a primary with {count} replicas; what has not reached them is lost in a failover")


def _clock(engine: Vitals) -> Diagnosis:
    ahead, unsure = engine.ahead_s, engine.unsure_s
    if abs(ahead) - unsure > OFFSET_S:
        which = "ahead of" if ahead > 0 else "behind"
        todo = "run NTP on both; decisions have the store's time, so a step of it moves reward windows"
        return warning(f"the store's clock is {ago(abs(ahead))} {which} this machine's", todo)
    return ok(f"within {abs(ahead) + unsure:.3f} s of this machine's")


def _disk(seen: Seen) -> Diagnosis:
    if seen.settings.redis_url:
        raise SkipError("the store's disk is on another machine")
    folder = seen.settings.data_dir
    if not folder.is_dir():
        raise SkipError(f"{folder} does not exist")
    room = shutil.disk_usage(folder)
    size = _size(folder)
    said = f"{room.free >> 20:,} MB free of {room.total >> 20:,} MB; Lever's data has {size >> 20:,} MB"
    if room.free < size:
        return problem(said, "rewriting the append-only file takes as much room again: make room")
    return warning(said, "make room") if room.free < DISK_SHARE * room.total else ok(said)


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:  # replaced meanwhile
            continue
    return total


def _number(info: Mapping[str, str], name: str) -> int:
    told = info.get(name, "0")
    return int(told) if told.isdecimal() else 0


def _of_each(check: Callable[[Vitals], Diagnosis]) -> Callable[[Seen], Diagnosis]:
    """The worst that the check finds of any engine, which is named where there are several."""

    def checked(seen: Seen) -> Diagnosis:
        found = [(engine, check(engine)) for engine in seen.engines]
        engine, worst = max(found, key=lambda one: (OK, WARNING, PROBLEM).index(one[1].result))
        return replace(worst, said=f"{engine.name}: {worst.said}") if len(found) > 1 else worst

    return checked


CHECKS: tuple[Check, ...] = (
    ("store", _store),
    ("experiments", _same),
    ("eviction", _of_each(_eviction)),
    ("durability", _of_each(_fsync)),
    ("persistence", _of_each(_persistence)),
    ("memory", _of_each(_memory)),
    ("replication", _of_each(_replication)),
    ("store clock", _of_each(_clock)),
    ("disk", _disk),
)

"""What is wrong with one experiment stays with it: it is served as it was, said so, and the others learn on."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import structlog

from service.errors import NotFoundError
from service.management.verify import examined
from service.server.assemble import Service
from service.serving.personalizer import Mode
from service.store.entries import seal
from service.store.redis import RedisStore
from service.store.rows import HEAD, reward_dtype, trial_dtype
from tests.rig.ground import CONFIG, Ground
from tests.rig.stage import choose, one_valued
from tests.rig.waiting import eventually

Fields = dict[bytes, bytes]


def sealed(kind: bytes, stride: object, totals: bytes, data: bytes) -> Fields:
    """Fields with a checksum that is right: only what they say is wrong."""
    size = str(stride).encode()
    check = seal(kind + size + b";" + totals + b";" + data).encode()
    return {kind: data, b"s": size, b"k": check} | ({b"o": totals} if totals else {})


def trial(stored: Fields, **given: object) -> Fields:
    """A trial as it is stored, with other values in its first row."""
    stride = int(stored[b"s"])
    rows = np.frombuffer(stored[b"t"], trial_dtype((stride - HEAD.itemsize) // 2)).copy()
    for name, value in given.items():
        rows[name][0] = value
    return sealed(b"t", stride, b"", rows.tobytes())


def reward(stored: Fields, totals: bytes = b"0:1:0", **given: object) -> Fields:
    stride = int(stored[b"s"])
    old = np.frombuffer(stored[b"t"], trial_dtype((stride - HEAD.itemsize) // 2))[:1]
    rows = np.zeros(1, reward_dtype((stride - HEAD.itemsize) // 2))
    for name in old.dtype.names or ():
        rows[name] = old[name]
    for name, value in given.items():
        rows[name] = value
    return sealed(b"r", stride + 2, totals, rows.tobytes())


def wider(stored: Fields) -> Fields:
    """A row with a feature that the configuration does not have."""
    stride = int(stored[b"s"])
    return sealed(b"t", stride + 4, b"", stored[b"t"][:stride] + bytes((0, 0, 1, 0)))


def flipped(stored: Fields) -> Fields:
    """One bit of one row, and the checksum as it was."""
    data = bytearray(stored[b"t"])
    data[len(data) // 2] ^= 4
    return stored | {b"t": bytes(data)}


def noise(stored: Fields) -> Fields:
    """Random bytes of a right length, as from before there were checksums."""
    return {b"t": random.Random(7).randbytes(len(stored[b"t"])), b"s": stored[b"s"]}


# What an entry of an experiment's log may come to be.
DAMAGES: dict[str, Callable[[Fields], Fields]] = {
    "stride-zero": lambda f: sealed(b"t", 0, b"", f[b"t"]),
    "stride-negative": lambda f: sealed(b"t", -int(f[b"s"]), b"", f[b"t"]),
    "stride-odd": lambda f: sealed(b"t", int(f[b"s"]) + 1, b"", bytes(int(f[b"s"]) + 1)),
    "stride-huge": lambda f: sealed(b"t", 10**30, b"", f[b"t"]),
    "stride-no-number": lambda f: sealed(b"t", "many", b"", f[b"t"]),
    "stride-missing": lambda f: {b"t": f[b"t"]},
    "rows-cut": lambda f: sealed(b"t", int(f[b"s"]), b"", f[b"t"][:-1]),
    "rows-none": lambda f: sealed(b"t", int(f[b"s"]), b"", b""),
    "rows-flipped": flipped,
    "rows-noise": noise,
    "totals-huge": lambda f: reward(f, b"0:99999999999999999999:0"),
    "totals-few": lambda f: reward(f, b"0:1"),
    "totals-many": lambda f: reward(f, b"0:1:0,0:1:0"),
    "segment": lambda f: trial(f, segment=900),
    "arm": lambda f: trial(f, arm=65535),
    "metric": lambda f: reward(f, metric=7),
    "column": wider,
    "time-huge": lambda f: trial(f, time=2**62),
    "time-negative": lambda f: trial(f, time=-1),
    "propensity": lambda f: trial(f, propensity=17.0),
    "flags": lambda f: trial(f, flags=1 << 15),
    "feature": lambda f: trial(f, x=-32768),
    "config-no-text": lambda _: {b"c": b"\xff\xfe\x00"},
    "config-name-no-utf8": lambda _: {b"c": b'{"version":2,"uid":"\xff"}'},
    "kinds-two": lambda f: {**f, b"r": f[b"t"]},
    "kinds-none": lambda _: {b"q": b"1"},
    "checksum-newer": lambda f: f | {b"k": b"9" + f[b"k"][1:]},
}


def told(server: Service) -> dict[str, float]:
    """lever_unreadable by experiment."""
    return {key[0]: value for key, value in one_valued(server.metrics, "lever_unreadable").items()}


def damaged(ground: Ground, server: Service, damages: dict[str, Callable[[Fields], Fields]]) -> None:
    """An experiment with each damage at the end of its log."""
    for name in damages:
        server.experiments.put(CONFIG.format(name=name), 0)
    for name in damages:
        for i in range(3):
            choose(server, name, f"s{i}", context={"source": "ads"})
    ground.settle()
    uids = {name: snapshot.experiment.uid for name, snapshot in server.directory.by_name.items()}
    with ground.raw as raw:
        for name, damage in damages.items():
            log = f"{ground.world.prefix}:{{{uids[name]}}}:log"
            stored: Fields = next(fields for _, fields in raw.xrevrange(log) if b"t" in fields)
            raw.xadd(log, damage(stored))


def test_a_malformed_entry_stops_the_learning_of_its_experiment_alone(ground: Ground) -> None:
    server = ground.service()
    with structlog.testing.capture_logs() as logs:
        damaged(ground, server, DAMAGES)
        eventually(lambda: {name for name, value in told(server).items() if value} == set(DAMAGES))
        fresh = ground.world.service()  # it never read the damaged ones, and is ready
        assert fresh.feed.ready
    assert {name for name, value in told(fresh).items() if value} == set(DAMAGES)
    said = {line["experiment"] for line in logs if "cannot be read" in line["event"]}
    assert said == set(DAMAGES), "by name, also by a server that never read one"
    tokens = ground.choose(server, 20)
    ground.settle()
    ground.click(fresh, tokens)
    ground.settle()
    uid = server.directory.by_name["hero"].experiment.uid
    for each in (server, fresh):
        assert set(each.feed.replicas) == {uid}
        assert each.feed.replicas[uid].rows == 40
    for name in DAMAGES:
        assert choose(server, name, "ann").arm in "abc", "its last snapshot is served"
    store = ground.past()
    for name, of in store.poll({}).registry.items():
        found, _ = examined(store, store, of)
        assert found.good is (name == "hero"), (name, found.faults)


def test_an_experiment_comes_back_once_its_log_is_whole_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.learning.quarantine._AGAIN_S", 0.05)
    server = ground.service()
    damaged(ground, server, {"arm": DAMAGES["arm"]})
    eventually(lambda: told(server).get("arm") == 1)
    fresh = ground.world.service()
    assert told(fresh)["arm"] == 1
    uid = server.directory.by_name["arm"].experiment.uid
    with ground.raw as raw:
        log = f"{ground.world.prefix}:{{{uid}}}:log"
        raw.xdel(log, raw.xrevrange(log, count=1)[0][0])
    for each in (server, fresh):
        eventually(lambda each=each: told(each).get("arm") == 0 and uid in each.feed.replicas)  # type: ignore[misc]


def test_a_name_in_the_registry_that_is_no_utf8_hurts_only_its_experiment(ground: Ground) -> None:
    server = ground.service()
    server.experiments.put(CONFIG.format(name="other"), 0)
    uid = server.directory.by_name["other"].experiment.uid
    with ground.raw as raw:
        names = f"{ground.world.prefix}:{{registry}}:names"
        raw.hdel(names, "other")
        raw.hset(names, b"oth\xff", uid)
        raw.hset(names, "third", b"\xfe\xfd")
    eventually(lambda: told(server).get("other") == 1)
    fresh = ground.world.service()
    assert fresh.feed.ready
    assert told(fresh) == {"hero": 0, "oth\\xff": 1, "third": 1}
    tokens = ground.choose(server, 10)
    ground.settle()
    ground.click(fresh, tokens)
    ground.settle()
    assert fresh.feed.replicas[server.directory.by_name["hero"].experiment.uid].rows == 20


def test_a_cursor_that_is_no_id_hurts_only_its_experiment(ground: Ground) -> None:
    server = ground.service()
    store: RedisStore = ground.past()
    (uid,) = server.feed.replicas
    poll = store.poll({uid: "0-0", "other": "no id", "third": "0-0"})
    assert set(poll.damaged) == {"other"}
    assert len(poll.entries[uid]) == 1


def test_a_choice_of_an_experiment_that_is_being_deleted_is_not_found(ground: Ground) -> None:
    """It holds the snapshot, and its trials' buffer is gone: as it would have found nothing a moment later."""
    server = ground.service()
    snapshot = server.directory.named("hero")
    server.experiments.delete("hero", None)
    eventually(lambda: "hero" not in server.directory.by_name)
    server.directory.by_name = {"hero": snapshot}
    with pytest.raises(NotFoundError):
        choose(server, "hero", "ann")
    with pytest.raises(NotFoundError):
        server.use_cases.select_batch("hero", ["ann", "bob"], {}, (), False, Mode.NORMAL)


def test_no_experiments_trials_wait_for_anothers(ground: Ground) -> None:
    """The store refuses one experiment's, and takes the others' as before."""
    server = ground.service()
    server.experiments.put(CONFIG.format(name="refused"), 0)
    uid = server.directory.by_name["refused"].experiment.uid
    for i in range(5):
        choose(server, "refused", f"s{i}", context={"source": "ads"})
    server.feed.flushed(60.0)
    key = f"{ground.world.prefix}:{{{uid}}}:log"
    with ground.raw as raw:
        kept = raw.dump(key)
        raw.delete(key)
        raw.set(key, "not a log")
        choose(server, "refused", "ann", context={"source": "ads"})
        ground.choose(server, 20)
        hero = server.directory.buffers[server.directory.by_name["hero"].experiment.uid]
        eventually(lambda: not len(hero))
        assert len(server.directory.buffers[uid]), "it waits, and is sent again"
        raw.restore(key, 0, kept, replace=True)
    server.feed.flushed(60.0)
    assert one_valued(server.metrics, "lever_trials_dropped_total")["refused", "lost"] == 0

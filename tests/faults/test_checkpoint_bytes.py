"""Any byte of a stored checkpoint may go bad: who starts has the right state, and the log heals what is stored."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.learning import checkpoints
from service.learning.fold.digests import intact
from service.management.verify import Examination, repair
from service.server.assemble import Tuning, build
from service.telemetry.metrics import Metrics
from tests.rig.ground import CONFIG, Ground
from tests.rig.stage import KEYS
from tests.rig.waiting import eventually

Fields = dict[bytes, bytes]
HEAD = (b"id", b"previous", b"rows", b"size", b"digest", b"check")


def damages(stored: Fields, rng: random.Random) -> Iterator[tuple[str, Fields]]:
    """Every byte of the head and some of the body: another value, cut out; and every field removed, or renamed."""
    for name, value in sorted(stored.items()):
        places = range(len(value)) if name in HEAD else {rng.randrange(len(value)) for _ in range(3)}
        for at in places:
            other = bytes([value[at] ^ (1 << rng.randrange(8))])
            yield f"{name!r}[{at}] flipped", stored | {name: value[:at] + other + value[at + 1 :]}
            if name in (b"id", b"rows", b"size"):
                digit = bytes([48 + (value[at] - 47) % 10])
                yield f"{name!r}[{at}] a digit", stored | {name: value[:at] + digit + value[at + 1 :]}
            if at % 3 == 0:
                yield f"{name!r}[{at}] cut", stored | {name: value[:at] + value[at + 1 :]}
        less = {other: kept for other, kept in stored.items() if other != name}
        yield f"{name!r} removed", less
        yield f"{name!r} renamed", less | {name[:-1] + b"\xff": value}


def test_any_byte_of_a_checkpoint_may_go_bad(ground: Ground) -> None:
    server = ground.service()
    key = ground.with_checkpoint(server)
    (uid,) = server.feed.replicas
    bits, cursor = server.feed.replicas[uid].fields(), server.feed.replicas[uid].cursor
    server.stop()  # so that nobody heals anything
    store = ground.past()
    starting = build(store, KEYS, Metrics(), Tuning())
    follower = starting.feed._follower
    with ground.raw as raw:
        stored: Fields = raw.hgetall(key)
        assert {*HEAD} < stored.keys()
        for what, bad in damages(stored, random.Random(11)):
            raw.delete(key)
            raw.hset(key, mapping=bad)
            follower.load(uid)
            replica = follower.replicas[uid]
            assert (replica.fields(), replica.cursor, replica.rows) == (bits, cursor, 100), what
            loaded = store.load(uid)
            if loaded.checkpoint is not None and intact(loaded.checkpoint):
                same = {name: bad.get(name) for name in (b"id", b"rows", b"size", b"digest")}
                assert same == {name: stored[name] for name in same}, f"{what} and nobody sees it"
            else:
                assert replica.cut is not None and replica.cut.heal, f"{what}: what is stored is to be replaced"  # noqa: PT018


@pytest.mark.parametrize("field", ["id", "rows", "digest"])
def test_a_garbled_head_is_replaced_by_who_serves(ground: Ground, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "AUDIT_S", 0.05)
    monkeypatch.setattr(checkpoints, "AUDIT_SHARE", 0)
    server = ground.service()
    key = ground.with_checkpoint(server)
    (uid,) = server.feed.replicas
    with ground.raw as raw:
        raw.hset(key, field, b"garbled\xff")
    eventually(lambda: ground.past().load(uid).checkpoint)
    ground.proved(rewards=40)


def test_a_garbled_head_is_repaired_by_verify(ground: Ground) -> None:
    server = ground.service()
    key = ground.with_checkpoint(server)
    (uid,) = server.feed.replicas
    bits = server.feed.replicas[uid].fields()
    server.stop()
    store = ground.past()
    with ground.raw as raw:
        was = raw.hget(key, "id")
        for garbled in (b"garbled", b"", b"99-99", b"9" * 30 + b"-1", was[:-1] + b"7" + was[-1:]):
            raw.hset(key, "id", garbled)
            examination = Examination(store, store, uid)
            assert any("damaged" in fault for fault in examination.run().faults), garbled
            repair(store, examination)
            assert not Examination(store, store, uid).run().faults
            assert store.load(uid).checkpoint.fields == bits  # type: ignore[union-attr]


def test_the_command_goes_on_to_the_next_experiment_where_one_cannot_be_read(ground: Ground) -> None:
    ground.world.prefix = "lever"  # where commands look
    server = ground.service()
    server.experiments.put(CONFIG.format(name="other"), 0)
    uid = server.directory.by_name["other"].experiment.uid
    with ground.raw as raw:
        raw.xadd(f"lever:{{{uid}}}:log", {"t": "no rows", "s": "7"})
    done = CliRunner().invoke(app, ["verify", "--json", "--redis-url", ground.engine.url])
    assert done.exit_code == 1
    assert '"name": "hero"' in done.stdout
    assert "log entry" in done.stdout

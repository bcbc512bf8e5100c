"""Export, import and the snapshot file: what comes back is proved, or does not come."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.errors import ConflictError, CorruptError
from service.learning.fold.digests import digest_of
from service.learning.snapshot_file import SnapshotFile
from service.management.transfer import bring, prove, take
from service.management.verify import Examination
from service.server.assemble import Service, Tuning, build
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.archive import Archived, pack, unpack
from service.store.contract import Checkpoint, Outcome
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.ground import Ground
from tests.rig.stage import KEYS, Stage, choose
from tests.rig.waiting import eventually

APPLIED, LATE = Outcome.APPLIED, Outcome.LATE


def exported(ground: Ground) -> Archived:
    server = ground.service()
    tokens = ground.choose(server, 80)
    ground.settle()
    ground.click(server, tokens[:30])
    ground.settle()
    store = ground.past()
    (uid,) = store.poll({}).registry.values()
    kept = take(store, uid)
    store.close()
    return kept


def test_an_export_comes_back_bit_by_bit_with_its_log(ground: Ground, tmp_path: Path) -> None:
    file = tmp_path / "hero.lever"
    file.write_bytes(pack([exported(ground)]))
    (kept,) = unpack(file.read_bytes())
    store = ground.past()
    with pytest.raises(ConflictError):
        bring(store, kept)
    elsewhere = Stage(ground.engine.url)
    other = elsewhere.store()
    bring(other, kept)
    found = Examination(other, other, kept.uid)
    assert not found.run().faults
    assert found.settled().fields() == dict(kept.state.fields)
    assert [e.id for e in found.log[:-1]] == [e.id for e in kept.entries]
    server = elsewhere.service()
    try:
        before = server.use_cases.reward([RewardEvent(t, "click") for t in ground.tokens])
        assert before == [LATE] * 80
        fresh = choose(server, "hero", "ann")
        server.feed.flushed(60.0)
        assert server.use_cases.reward([RewardEvent(from_text(fresh.decision_id), "click")]) == [APPLIED]
        server.feed.refresh(60.0)
        again = Examination(other, other, kept.uid).run()
        assert not again.faults
        assert again.rewards == 31
    finally:
        elsewhere.stop()


def test_an_experiment_deleted_by_mistake_can_be_imported(ground: Ground) -> None:
    kept = exported(ground)
    (server,) = ground.world.services
    server.experiments.delete("hero", None)
    store = ground.past()
    bring(store, kept)
    with pytest.raises(ConflictError):
        bring(store, kept)
    eventually(lambda: "hero" in server.directory.by_name)
    assert store.deleted([kept.uid]) == frozenset()
    assert server.feed.replicas[kept.uid].fields() == dict(kept.state.fields)


def test_an_archive_that_was_touched_is_refused_wherever_it_was(ground: Ground) -> None:
    kept = exported(ground)
    data = pack([kept])
    rng = random.Random(5)
    for _ in range(200):
        at = rng.randrange(len(data))
        bad = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        with pytest.raises(CorruptError):
            unpack(bad)
        with pytest.raises(CorruptError):
            unpack(data[:at])


def test_what_cannot_be_proved_is_refused(ground: Ground) -> None:
    kept = exported(ground)
    prove(kept)
    cell = next(name for name in kept.state.fields if name.startswith("c/"))
    fields = dict(kept.state.fields) | {cell: kept.state.fields[cell][:-8]}
    lies = [
        msgspec.structs.replace(kept, entries=kept.entries[:-1]),
        msgspec.structs.replace(kept, entries=kept.entries[1:]),
        msgspec.structs.replace(kept, entries=kept.entries[:1] + kept.entries[2:]),
        msgspec.structs.replace(kept, entries=[kept.entries[0], *reversed(kept.entries[1:])]),
        msgspec.structs.replace(kept, uid="0" * 16),
        msgspec.structs.replace(kept, state=replace(kept.state, fields=fields)),
        msgspec.structs.replace(kept, state=_honest(kept.state, fields)),
    ]
    store = MemoryStore()
    for lie in lies:
        with pytest.raises(CorruptError):
            bring(store, lie)
    assert store.poll({}).registry == {}


def _honest(of: Checkpoint, fields: dict[str, bytes]) -> Checkpoint:
    """A state that is what its digest says, and not what the log folds to."""
    return replace(of, fields=fields, digest=digest_of(fields))


def trimmed(ground: Ground) -> Archived:
    """An export of an experiment whose log begins at its checkpoint: 60 trials and 20 rewards before, 20 rewards after."""
    server = ground.service()
    key = ground.with_checkpoint(server)
    store = ground.past()
    (uid,) = store.poll({}).registry.values()
    checkpoint = store.load(uid).checkpoint
    assert checkpoint is not None
    with ground.raw as raw:
        assert raw.xtrim(key.rsplit(":", 1)[0] + ":log", minid=checkpoint.id, approximate=False)
    kept = take(store, uid)
    store.close()
    return kept


def test_a_hole_between_checkpoint_and_log_is_seen(ground: Ground) -> None:
    kept = trimmed(ground)
    later = next(entry.id for entry in kept.entries if kept.base is not None and entry.id != kept.base.id)
    with ground.raw as raw:
        (log,) = raw.keys(f"*{kept.uid}*:log")
        assert raw.xtrim(log, minid=later, approximate=False), raw.xinfo_stream(log)
    store = ground.past()
    assert any("begins after the checkpoint" in fault for fault in Examination(store, store, kept.uid).run().faults)
    with pytest.raises(CorruptError, match="begins after its checkpoint"):
        take(store, kept.uid)
    store.close()


def test_an_export_of_a_trimmed_log_is_proved_from_its_checkpoint_and_comes_back_whole(ground: Ground) -> None:
    (kept,) = unpack(pack([trimmed(ground)]))
    assert kept.base is not None
    assert kept.entries[0].id == kept.base.id
    elsewhere = Stage(ground.engine.url)
    other = elsewhere.store()
    bring(other, kept)
    found = Examination(other, other, kept.uid).run()
    assert not found.faults
    assert any("trimmed" in limit for limit in found.limits)
    try:
        server = elsewhere.service()
        fresh = choose(server, "hero", "ann")
        server.feed.flushed(60.0)
        answers = server.use_cases.reward(
            [RewardEvent(t, "click") for t in (ground.tokens[0], ground.tokens[50], from_text(fresh.decision_id))]
        )
        assert answers == [LATE, LATE, APPLIED]
        server.feed.refresh(60.0)
        total = server.feed.replicas[kept.uid].state.lifetime(0) + server.feed.replicas[kept.uid].state.lifetime(1)
        assert int(total[:, :4].sum()) == 61  # also those whose trials the log has no more
        again = Examination(other, other, kept.uid).run()
        assert not again.faults
    finally:
        elsewhere.stop()
        other.close()


def test_an_export_of_a_trimmed_log_without_its_checkpoint_is_refused(ground: Ground) -> None:
    kept = trimmed(ground)
    assert kept.base is not None
    cells = [name for name in kept.base.fields if name.startswith("c/")]
    fields = dict(kept.base.fields) | dict.fromkeys(cells, bytes(4))  # as of arms that nobody was shown
    lies = {
        "does not reach back": msgspec.structs.replace(kept, base=None),
        "does not match its digest": msgspec.structs.replace(kept, base=replace(kept.base, fields=fields)),
        "not what its log comes to": msgspec.structs.replace(kept, base=_honest(kept.base, fields)),
    }
    store = MemoryStore()
    for words, lie in lies.items():
        with pytest.raises(CorruptError, match=words):
            bring(store, lie)
    assert store.poll({}).registry == {}


def verify(ground: Ground, *given: str) -> Result:
    return CliRunner().invoke(app, ["verify", "--redis-url", ground.engine.url, "--json", *given])


def test_an_export_of_before_is_where_the_proof_of_a_trimmed_log_begins(ground: Ground, tmp_path: Path) -> None:
    ground.world.prefix = "lever"  # where the commands look
    before = exported(ground)
    file = tmp_path / "before.lever"
    file.write_bytes(pack([before]))
    ground.with_checkpoint(ground.world.services[0])
    with ground.raw as raw:
        assert raw.xtrim(f"lever:{{{before.uid}}}:log", minid=before.state.id, approximate=False)
    assert "the log was trimmed" in verify(ground).stdout
    said = verify(ground, "--since", str(file))
    assert said.exit_code == 0, said.output
    (found,) = json.loads(said.stdout)
    assert f"state = log since {before.state.id}" in found["proved"]
    assert not any("trimmed" in limit for limit in found["limits"])
    absent = verify(ground, "--since", str(tmp_path / "absent.lever"))
    assert absent.exit_code == 1
    assert "absent.lever" in absent.stderr
    file.write_text("experiment: hero\n")
    refused = verify(ground, "--since", str(file))
    assert refused.exit_code == 1
    assert "error: not a Lever archive" in refused.stderr


def start(ground: Ground, path: Path) -> Service:
    """A server with a snapshot file, not waited for."""
    made = build(ground.world.store(), KEYS, Metrics(), Tuning(20, 20), snapshot_file=SnapshotFile(path))
    ground.world.services.append(made)
    made.start()
    return made


def test_a_server_starts_from_its_snapshot_file_before_the_store_is_there(ground: Ground, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.bin"
    exported(ground)
    first = start(ground, path)
    first.feed.refresh(60.0)
    first.stop()
    ground.world.services.remove(first)
    assert path.stat().st_mode & 0o777 == 0o600
    ground.proxy.refusing = True
    ground.proxy.cut()
    second = start(ground, path)
    assert second.feed.ready
    assert not second.feed.store_up
    assert choose(second, "hero", "ann").stale
    ground.proxy.refusing = False
    eventually(lambda: second.feed.store_up)
    assert ground.proved().trials == 81


def test_a_damaged_snapshot_file_is_as_none(ground: Ground, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.bin"
    shelf = SnapshotFile(path)
    exported(ground)
    (replica,) = ground.world.services[0].feed.replicas.values()
    shelf.save([replica], now=True)
    assert [r.fields() for r in SnapshotFile(path).load()] == [replica.fields()]
    path.write_bytes(path.read_bytes()[:-1])
    assert SnapshotFile(path).load() == []
    path.unlink()
    assert SnapshotFile(path).load() == []


def test_what_the_store_lost_while_the_server_was_down_is_restored_from_the_file(
    ground: Ground, tmp_path: Path
) -> None:
    path = tmp_path / "snapshot.bin"
    kept = exported(ground)
    SnapshotFile(path).save(ground.world.services[0].feed.replicas.values(), now=True)
    ground.world.services.pop().stop()
    with ground.raw as raw:
        raw.flushall()
    server = start(ground, path)
    eventually(server.feed.lost)
    assert choose(server, "hero", "ann").arm in "abc"
    server.experiments.restore("hero")
    assert server.feed.replicas[kept.uid].fields() == dict(kept.state.fields)
    store = ground.past()
    assert not Examination(store, store, kept.uid).run().faults

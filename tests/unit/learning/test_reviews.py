"""Reviews of the log: what changed is found, nothing else is, the same on every server and after a restart."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from service.experiment.compiled import build, read
from service.experiment.parse import parse
from service.learning.fold.digests import digest_of
from service.learning.replica import Replica
from service.store import rows as layout
from service.store.contract import Checkpoint, Entry, Loaded

START = 1_767_225_600_000
CONFIG: dict[str, Any] = {
    "experiment": "swap",
    "arms": [{"id": f"a{k}"} for k in range(3)],
    "default_arm": "a0",
    "metrics": [{"id": "click", "window": "30m"}],
}
STEP_MS = 1_000
CHANGE = 2_000  # decisions, 33 minutes: 31 buckets
LENGTH = 4_000
RATES = np.array([0.2, 0.4, 0.1])


def record(version: int = 1, **changes: Any) -> bytes:
    text = msgspec.json.encode(CONFIG | changes).decode()
    old = read(record()) if version > 1 else None
    return build(parse(text), text, "ab", START, old)


def entries(seed: int, after: np.ndarray[Any, Any], level: float = 1.0, length: int = LENGTH) -> list[Entry]:
    """A log: a configuration, then 20 trials and their rewards by turns; a quarter of the trials go to others than a1.

    From the change on, arms earn `after`, times the level until 500 decisions later.
    """
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(length) < 0.75, 1, rng.integers(0, 3, length))
    at = np.arange(length)
    rates = np.where((at >= CHANGE)[:, None], after, RATES)[at, arm]
    won = rng.random(length) < rates * np.where((at >= CHANGE) & (at < CHANGE + 500), level, 1.0)
    out = [Entry(f"{START}-0", config=record())]
    for start in range(0, length, 20):
        packed, rewards = np.zeros(20, layout.trial_dtype(0)), np.zeros(20, layout.reward_dtype(0))
        for made in (packed, rewards):
            made["time"], made["arm"] = START + STEP_MS * at[start : start + 20], arm[start : start + 20]
        now, paid = int(packed["time"][-1]), won[start : start + 20]
        out.append(Entry(f"{now}-1", packed.itemsize, trials=packed.tobytes()))
        if paid.any():
            triples = [(0, 1, False)] * int(paid.sum())
            out.append(Entry(f"{now}-2", rewards.itemsize, rewards=rewards[paid].tobytes(), totals=triples))
    return out


def folded(log: list[Entry], sizes: list[int]) -> Replica:
    """A server that reads so many entries at a time, in turn, and looks at its snapshot now and then."""
    replica = Replica("ab", Loaded(record()))
    at = turn = 0
    while at < len(log):
        size = sizes[turn % len(sizes)]
        replica.fold(log[at : at + size])
        if turn % 7 == 0:
            replica.snapshot(START)
        at, turn = at + size, turn + 1
    return replica


def restarted(replica: Replica) -> Replica:
    """A server that begins with what the other one would store."""
    kept = replica.whole()
    return Replica("ab", Loaded(record(), Checkpoint(**{n: getattr(kept, n) for n in kept.__slots__})))


def weighted(replica: Replica) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(trials, mean reward) of the arms, as the policy sees them."""
    weights = replica.reviews.weights(replica.state, replica.experiment, 0, replica.touched)
    sums = replica.state.sums(0, weights)
    return sums.n, sums.s1 / sums.n


@pytest.fixture(scope="module")
def broken() -> list[Entry]:
    """The leader breaks for good."""
    return entries(1, np.array([0.2, 0.02, 0.1]))


def test_nothing_is_found_where_nothing_changes() -> None:
    for seed in range(10):
        replica = folded(entries(seed, RATES), [50])
        (past,) = replica.reviews.pasts(replica.experiment).values()
        assert (past.shifts, past.outage) == ([], None)
        n, _ = weighted(replica)
        assert n.sum() == pytest.approx(LENGTH, rel=0.1)


def test_a_broken_leader_is_found_and_told(broken: list[Entry]) -> None:
    replica = folded(broken, [50])
    (past,) = replica.reviews.pasts(replica.experiment).values()
    assert [shift.arm for shift in past.shifts] == [1]
    assert (past.shifts[0].since_ms - START) / STEP_MS == pytest.approx(CHANGE, abs=131)
    assert past.shifts[0].ratio < 200  # of 1024
    assert past.outage is None
    _, mean = weighted(replica)
    assert mean[1] < 0.06
    assert mean[0] == pytest.approx(0.2, abs=0.05)


def test_an_outage_is_told_while_it_lasts_and_does_not_teach() -> None:
    log = entries(2, RATES, level=0.0)
    turns = [e for e in log if e.time <= START + STEP_MS * (CHANGE + 490)]
    during = folded(turns, [50])
    (past,) = during.reviews.pasts(during.experiment).values()
    assert past.shifts == []
    assert past.outage is not None
    assert (past.outage[0] - START) / STEP_MS == pytest.approx(CHANGE, abs=131)
    whole = folded(log, [50])
    (past,) = whole.reviews.pasts(whole.experiment).values()
    assert (past.shifts, past.outage) == ([], None)
    n, mean = weighted(whole)
    assert n.sum() == pytest.approx(LENGTH - 500, rel=0.1)
    assert mean == pytest.approx(RATES, abs=0.06)


def test_servers_agree_whatever_they_read_at_a_time(broken: list[Entry]) -> None:
    one, two = folded(broken, [1]), folded(broken, [13, 1, 200])
    assert one.fields() == two.fields()
    packed = [replica.snapshot(START).slots[0].posterior.packed.tobytes() for replica in (one, two)]
    assert packed[0] == packed[1]


def test_a_restarted_server_has_the_same_bits_and_goes_on_alike(broken: list[Entry]) -> None:
    whole = folded(broken, [50])
    for cut in (150, 260, len(broken)):
        early = folded(broken[:cut], [50])
        later = restarted(early)
        assert later.fields() == early.fields()
        packed = [replica.snapshot(START).slots[0].posterior.packed.tobytes() for replica in (early, later)]
        assert packed[0] == packed[1]
        later.fold(broken[cut:])
        assert later.fields() == whole.fields()


def test_a_checkpoint_of_the_old_format_is_read_its_findings_are_made_anew(broken: list[Entry]) -> None:
    early = folded(broken[:260], [50])
    known = {name: value for name, value in early.state.fields().items() if name[0] not in "tlp"}
    fields = known | {"format": b"1", "config": record(), "reviews": b'[9,{"0":[1.0,null,9,9,[[5,3]]]}]'}

    kept = early.whole()
    old = Checkpoint(**{n: getattr(kept, n) for n in kept.__slots__} | {"fields": fields, "digest": digest_of(fields)})
    replica = Replica("ab", Loaded(record(), old))
    told = replica.state.fields()
    assert told.pop("h") == np.array([0, 0, replica.touched], "<i8").tobytes()  # by propensity nothing was kept before
    assert {name: value for name, value in told.items() if name[0] not in "tlp"} == known
    pasts = list(replica.state.periods.pasts())  # what it knew stands on the days of its time buckets
    assert sum(past.counts[:, 0].sum() for past in pasts) == replica.state.lifetime(0)[:, 0].sum() > 0
    assert not replica.reviews.pasts(replica.experiment)
    replica.fold(broken[260:])
    assert [s.arm for s in replica.reviews.pasts(replica.experiment)[0].shifts] == [1]
    assert set(replica.fields()) >= {"memory", "format"}
    assert "reviews" not in replica.fields()


def test_looks_follow_time_where_rows_grow_by_little(broken: list[Entry]) -> None:
    """After many rows a 64th more takes long; a quarter of a bucket does not."""
    replica = folded(broken, [50])
    before = replica.reviews.fields()
    replica.rows = 10**6
    end = int(broken[-1].id.split("-")[0])
    packed = np.zeros(1, layout.trial_dtype(0))
    for minute in range(1, 4):
        packed["time"] = end + 60_000 * minute
        replica.fold([Entry(f"{end + 60_000 * minute}-0", packed.itemsize, trials=packed.tobytes())])
    assert replica.reviews.fields() != before
    assert not replica.reviews.due(replica.rows, end + 180_000)
    assert replica.reviews.due(replica.rows, end + 240_000)


def test_another_algorithm_weighs_everything_alike(broken: list[Entry]) -> None:
    replica = folded(broken, [50])
    end = int(broken[-1].id.split("-")[0])
    replica.fold([Entry(f"{end + 1}-0", config=record(2, algorithm="linucb"))])
    assert replica.reviews.weights(replica.state, replica.experiment, 0, replica.touched) is None
    assert weighted(replica)[0].sum() == LENGTH


def test_rewards_that_come_before_their_trials_are_looked_at_another_time() -> None:
    """A server flushes its trials after another has logged their rewards."""
    log = entries(3, RATES)
    swapped: list[Entry] = log[:1]
    for turn in range(1, len(log) - 1, 2):
        now = int(log[turn].id.split("-")[0])
        trials, rewards = sorted(log[turn : turn + 2], key=lambda e: e.trials is None)
        swapped += [
            Entry(f"{now}-1", rewards.stride, rewards=rewards.rewards, totals=rewards.totals),
            Entry(f"{now}-2", trials.stride, trials=trials.trials),
        ]
    replica = folded(swapped, [50])
    assert replica.reviews.pasts(replica.experiment)[0].shifts == []

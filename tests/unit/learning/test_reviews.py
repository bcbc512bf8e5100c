"""Reviews of the log: no false alarms where nothing changes, a change found where one does, the same for every server.

About 20 s.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from bandits.evidence import RIDGES
from bandits.state import Rows, State, Totals
from service.experiment.compiled import Experiment, build, read
from service.experiment.parse import parse
from service.learning.replica import Replica, digest_of, rules_of
from service.learning.reviews import FIELD, Reviews
from service.store import rows as layout
from service.store.contract import Checkpoint, Entry, Loaded

START = 1_767_225_600_000
CONFIG: dict[str, Any] = {
    "experiment": "swap",
    "arms": [{"id": f"a{k}"} for k in range(4)],
    "default_arm": "a0",
    "features": {
        "who": {"type": "category", "values": ["tom", "anna"]},
        "when": {"type": "category", "values": ["morning", "evening"]},
    },
    "metrics": [{"id": "click", "window": "30m"}],
}
STEP_MS = 1_000
SWAP = 3_000


def record(version: int = 1, **changes: Any) -> bytes:
    text = msgspec.json.encode(CONFIG | changes).decode()
    old = read(record()) if version > 1 else None
    return build(parse(text), text, "ab", START, old)


def rates(who: np.ndarray[Any, Any], when: np.ndarray[Any, Any], arm: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Each of the four situations likes one arm."""
    return np.where((2 * who + when) % 4 == arm, 0.6, 0.1)


def trials(seed: int, n: int, swapped: bool, experiment: Experiment) -> tuple[Rows, Totals]:
    """n decisions, one a second: nine in ten show the arm that was liked before the swap, the rest a random one."""
    rng = np.random.default_rng(seed)
    who, when = rng.integers(0, 2, n), rng.integers(0, 2, n)
    arm = np.where(rng.random(n) < 0.1, rng.integers(0, 4, n), (2 * who + when) % 4)
    after = (np.arange(n) >= SWAP) & swapped
    won = rng.random(n) < rates(np.where(after, 1 - who, who), when, arm)
    context = [{"who": ["tom", "anna"][a], "when": ["morning", "evening"][b]} for a, b in zip(who, when, strict=True)]
    x = np.array([np.frombuffer(experiment.encoder.encode(c).x, "<i2") for c in context])
    zero = np.zeros(n, np.int64)
    time = START + STEP_MS * np.arange(n)
    return Rows(time, zero, arm, zero, zero, x), Totals(zero, zero, won.astype(np.int64), zero, zero)


def part(rows: Rows, totals: Totals, start: int, end: int) -> tuple[Rows, Totals]:
    chosen = np.zeros(len(rows.time), np.bool_)
    chosen[start:end] = True
    return rows.where(chosen), Totals(*(column[chosen] for column in totals))


def found(seed: int, n: int, swapped: bool) -> list[tuple[int, int]]:
    """(found, from) of each cut, in decisions, for a server that reads 20 decisions at a time."""
    experiment = read(record())
    state, reviews = State(rules_of(experiment)), Reviews()
    rows, totals = trials(seed, n, swapped, experiment)
    for start in range(0, n, 20):
        some, won = part(rows, totals, start, start + 20)
        state.add_trials(some)
        state.add_rewards(some, won)
        now = int(some.time[-1])
        state.settle(now)
        if 2 * start >= reviews.due:
            reviews.review(state, experiment, 2 * start, now)
    cuts = reviews.cuts().get(0, ())
    return [((c.found_ms - START) // STEP_MS, (c.from_ms - START) // STEP_MS) for c in cuts]


def test_no_false_alarm_where_nothing_changes() -> None:
    """Twenty runs of 5,000 decisions. None may raise one: the threshold is odds of e^20 each time it is asked."""
    assert [cuts for seed in range(20) if (cuts := found(seed, 5_000, swapped=False))] == []


def test_a_swap_is_found_soon_and_once() -> None:
    """A bucket is 65 decisions wide: found within 400, placed within two buckets."""
    for seed in range(10):
        cuts = found(seed, 5_000, swapped=True)
        assert len(cuts) == 1
        ((when, since),) = cuts
        assert SWAP < when < SWAP + 400
        assert abs(since - SWAP) <= 131


def entries(seed: int, n: int) -> list[Entry]:
    """The same as a log: a configuration, then 20 trials and their rewards by turns."""
    experiment = read(record())
    rows, totals = trials(seed, n, True, experiment)
    out = [Entry(f"{START}-0", config=record())]
    columns = experiment.columns - 1
    for start in range(0, n, 20):
        some, won = part(rows, totals, start, start + 20)
        packed = np.zeros(20, layout.trial_dtype(columns))
        rewards = np.zeros(20, layout.reward_dtype(columns))
        for made in (packed, rewards):
            made["time"], made["arm"], made["x"] = some.time, some.arm, some.x
        now = int(some.time[-1])
        out.append(Entry(f"{now}-1", packed.itemsize, trials=packed.tobytes()))
        paid = won.new > 0
        triples = [(0, 1, False)] * int(paid.sum())
        if triples:
            out.append(Entry(f"{now}-2", rewards.itemsize, rewards=rewards[paid].tobytes(), totals=triples))
    return out


@pytest.fixture(scope="module")
def log() -> list[Entry]:
    return entries(1, 4_000)


def folded(log: list[Entry], sizes: list[int]) -> Replica:
    """A server that reads so many entries at a time, in turn, and looks at its snapshot after each."""
    replica = Replica("ab", Loaded(record()))
    at = turn = 0
    while at < len(log):
        size = sizes[turn % len(sizes)]
        replica.fold(log[at : at + size])
        if turn % 7 == 0:
            replica.snapshot(START)
        at, turn = at + size, turn + 1
    return replica


def test_servers_agree_whatever_they_read_at_a_time(log: list[Entry]) -> None:
    one, two = folded(log, [1]), folded(log, [13, 1, 200])
    assert one.reviews.cuts()
    assert one.fields() == two.fields()
    assert (
        one.snapshot(START).slots[0].posterior.packed.tobytes()
        == two.snapshot(START).slots[0].posterior.packed.tobytes()
    )


def test_a_restarted_server_goes_on_where_the_checkpoint_was(log: list[Entry]) -> None:
    whole = folded(log, [50])
    for cut in (330, 345):  # before and after the change is found
        early = folded(log[:cut], [50])
        kept = early._checkpoint(None)
        later = Replica("ab", Loaded(record(), Checkpoint(**{n: getattr(kept, n) for n in kept.__slots__})))
        assert later.reviews.cuts() == early.reviews.cuts()
        later.fold(log[cut:])
        assert later.fields() == whole.fields()
    assert [bool(folded(log[:cut], [50]).reviews.cuts()) for cut in (300, len(log))] == [False, True]


def test_a_newer_version_undoes_a_cut_and_brings_it_back(log: list[Entry]) -> None:
    replica = folded(log, [50])

    def trials_seen() -> float:
        return float(replica.state.sums(0, replica.state.weights(replica.touched, None, cut())).n.sum())

    def cut() -> int:
        return replica.reviews.cut(replica.experiment, 0)

    assert trials_seen() < 1_100
    end = int(log[-1].id.split("-")[0])
    replica.fold([Entry(f"{end + 1}-0", config=record(2, algorithm={"name": "auto", "detector": 0}))])
    assert (cut(), trials_seen()) == (0, 4_000)
    replica.fold([Entry(f"{end + 2}-0", config=record(2, algorithm="auto"))])
    assert trials_seen() < 1_100
    # for ever: buckets go on merging, but not across the cut
    replica.fold([Entry(f"{end + 10**9}-0", config=record(2))])
    assert len(replica.state.buckets) < 12
    assert trials_seen() < 1_100


def test_rewards_that_come_before_their_trials_set_no_alarm() -> None:
    """A server flushes its trials after another has logged their rewards; every such turn is 20 rows of 0 or 1."""
    experiment = read(record())
    columns = experiment.columns - 1
    rows, _ = trials(3, 3_000, False, experiment)
    replica = Replica("ab", Loaded(record()))
    replica.fold([Entry(f"{START}-0", config=record())])
    for start in range(0, 3_000, 20):
        here = slice(start, start + 20)
        packed, rewards = np.zeros(20, layout.trial_dtype(columns)), np.zeros(20, layout.reward_dtype(columns))
        for made in (packed, rewards):
            made["time"], made["arm"], made["x"] = rows.time[here], rows.arm[here], rows.x[here]
        now = int(rows.time[here][-1])
        paid = np.flatnonzero(rows.arm[here] == 1)  # one arm always pays
        early = [
            Entry(f"{now}-{i + 1}", rewards.itemsize, rewards=rewards[i : i + 1].tobytes(), totals=[(0, 1, False)])
            for i in paid
        ]
        replica.fold([*early, Entry(f"{now}-99", packed.itemsize, trials=packed.tobytes())])
    assert replica.reviews.findings[0].test > 2_900
    assert not replica.reviews.cuts()
    assert replica.state.sums(0).rewarded.max() == replica.state.sums(0).n[1]


def test_a_checkpoint_of_an_older_version_is_read_and_its_findings_are_made_again(log: list[Entry]) -> None:
    early = folded(log[:200], [50])
    kept = early._checkpoint(None)
    fields = {name: value for name, value in kept.fields.items() if name != FIELD}
    fields["reviews"] = b'[9999,{"0":[0.3,10.0,4000,4000,[[1,2]]]}]'
    old = Checkpoint(**{n: getattr(kept, n) for n in kept.__slots__} | {"fields": fields, "digest": digest_of(fields)})
    later = Replica("ab", Loaded(record(), old))
    assert not later.reviews.findings
    assert (later.state.sums(0).n == early.state.sums(0).n).all()
    later.snapshot(START)
    later.fold(log[200:210])
    assert later.reviews.findings[0].ridge in RIDGES
    assert "reviews" not in later.fields()
    assert "reviews" in later._checkpoint(old.id).removed

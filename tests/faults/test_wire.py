"""What a network does between a server and its store: cuts before and after, silence, slowness."""

from __future__ import annotations

from functools import partial

from service.errors import UnavailableError
from service.serving.rewarder import RewardEvent
from service.store.contract import Outcome
from service.store.scripts import Script
from tests.rig.ground import Ground
from tests.rig.waiting import eventually

from loadtest.rig.proxy import Fate, always  # isort: skip

APPLIED, DUPLICATE = Outcome.APPLIED, Outcome.DUPLICATE
CLAIM, APPEND, CHECKPOINT = (Script.load(name).sha.encode() for name in ("claim", "append", "checkpoint"))


def once(sha: bytes, fate: Fate, ground: Ground) -> list[int]:
    """The next call of this script meets the fate; the list has how many did."""
    met = [0]

    def judge(request: bytes) -> Fate:
        if sha in request and not met[0]:
            met[0] += 1
            return fate
        return Fate.PASS

    ground.proxy.judge = judge
    return met


def test_a_cut_after_the_claim_and_before_the_answer_counts_once(ground: Ground) -> None:
    server, other = ground.service(), ground.service()
    tokens = ground.choose(server, 61)
    ground.settle()
    ground.click(server, tokens[60:])  # the script is known from here on, so that a cut meets the real call
    for at in range(0, 60, 10):
        fate = (Fate.AFTER, Fate.BEFORE)[at // 10 % 2]
        met = once(CLAIM, fate, ground)
        events = [RewardEvent(token, "spend", 2.5, "order") for token in tokens[at : at + 10]]
        assert all(isinstance(answer, UnavailableError) for answer in ground.send(server, events))
        assert met == [1]
        eventually(lambda: not server.directory.away)
        again = ground.send(other, events)
        assert again == [DUPLICATE if fate is Fate.AFTER else APPLIED] * 10
    ground.proxy.judge = always
    found = ground.proved(rewards=61)
    assert found.records == 61


def test_trials_cut_after_they_were_appended_are_appended_once(ground: Ground) -> None:
    server = ground.service()
    for fate in (Fate.AFTER, Fate.BEFORE, Fate.AFTER):
        met = once(APPEND, fate, ground)
        ground.choose(server, 30)
        eventually(partial(met.__eq__, [1]))
        ground.settle()
    ground.proxy.judge = always
    assert ground.proved().trials == 90


def test_a_checkpoint_cut_either_way_is_made_good(ground: Ground) -> None:
    server = ground.service()
    for fate in (Fate.AFTER, Fate.BEFORE):
        ground.choose(server, 20)
        ground.settle()
        met = once(CHECKPOINT, fate, ground)
        replica = next(iter(server.feed.replicas.values()))
        with server.feed.paused():
            replica.cut = replica.whole()
        eventually(partial(met.__eq__, [1]))
        ground.proxy.judge = always
        ground.settle()
    ground.choose(server, 20)
    assert ground.proved().trials == 60


def test_a_half_open_network_is_noticed_and_left(ground: Ground) -> None:
    server = ground.service()
    tokens = ground.choose(server, 20)
    ground.settle()
    ground.proxy.silent = True
    assert isinstance(ground.click(server, tokens[:1])[0], UnavailableError)
    eventually(lambda: server.directory.stale)
    ground.choose(server, 20)
    ground.proxy.silent = False
    ground.proxy.cut()
    ground.insist(server, [RewardEvent(token, "click") for token in tokens])
    assert ground.proved(rewards=20).trials == 40


def test_a_slow_network_is_slow_and_nothing_else(ground: Ground) -> None:
    server = ground.service()
    ground.proxy.delay_s, ground.proxy.rate = 0.02, 200_000
    tokens = ground.choose(server, 40)
    ground.insist(server, [RewardEvent(token, "click") for token in tokens])
    assert ground.proved(rewards=40).trials == 40
    assert not server.directory.stale


def test_connections_cut_again_and_again(ground: Ground) -> None:
    server, other = ground.service(), ground.service()
    for i in range(20):
        tokens = ground.choose(server, 5)
        ground.proxy.refusing = i % 4 == 3
        ground.proxy.cut()
        ground.click(other, tokens)
        ground.proxy.refusing = False
        ground.insist((server, other)[i % 2], [RewardEvent(token, "click") for token in tokens])
    assert ground.proved(rewards=100).trials == 100

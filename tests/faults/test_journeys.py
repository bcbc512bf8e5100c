"""Journeys whose calls fail half-way: every conversion's value is credited whole, to the last unit, once."""

from __future__ import annotations

import random
from collections.abc import Sequence

from service.errors import UnavailableError
from service.server.assemble import Service, Tuning, build
from service.serving.journey import Credited, Journey
from service.serving.token import TokenKeys, from_text
from service.store.contract import Claim, Outcome
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import KEYS, choose

RULES = {"hero": ("linear", 0.01), "mail": ("position", 1), "offer": ("time_decay", 0.05), "exit": ("last", 0.5)}
CONFIG = """
experiment: {name}
arms: [{{id: calm}}, {{id: bold}}]
default_arm: calm
algorithm: beta
metrics:
  - {{id: order, primary: true, unit: {unit}, min: 0, max: 10000, aggregate: sum, window: 1h, credit: {rule}}}
"""
FAILURES = 10_000


class Flaky(MemoryStore):
    """Half of its calls end in an error: before anything was applied, or after."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng, self.failures, self.fair = rng, 0, False

    def claim(self, uid: str, claims: Sequence[Claim]) -> list[Outcome]:
        self._fail()
        made = super().claim(uid, claims)
        self._fail()
        return made

    def remember(self, word: str, proposal: bytes, expires: int) -> bytes:
        self._fail()
        kept = super().remember(word, proposal, expires)
        self._fail()
        return kept

    def _fail(self) -> None:
        if not self.fair and self.rng.random() < 0.3:
            self.failures += 1
            raise UnavailableError("the store does not answer")


def started(store: MemoryStore) -> Service:
    """A service with an experiment of each rule."""
    service = build(store, KEYS, Metrics(), Tuning(20, 20))
    service.start()
    service.feed.refresh(60.0)
    for name, (rule, unit) in RULES.items():
        service.experiments.put(CONFIG.format(name=name, rule=rule, unit=unit), 0)
    service.feed.refresh(60.0)
    return service


def tokens(service: Service, rng: random.Random, who: str) -> list[bytes]:
    names = [name for name in RULES for _ in range(rng.randint(0, 3))] or ["hero"]
    rng.shuffle(names)
    return [from_text(choose(service, name, f"{who}/{i}").decision_id) for i, name in enumerate(names)]


def insisted(service: Service, journey: Journey) -> list[Credited]:
    """Sent until nothing of it may be sent again, as a client should."""
    while True:
        try:
            found = service.use_cases.journey(journey)
        except UnavailableError:
            continue
        if not any(isinstance(one.answer, UnavailableError) for one in found):
            return found


def credited(store: MemoryStore, name: str) -> int:
    """What all decisions of an experiment have, in units."""
    uid = store.poll({}).registry[name]
    return sum(held.totals[0][0] for held in store.claims(uid) if held.totals)


def test_credits_sum_to_the_value_whatever_fails() -> None:
    rng = random.Random(11)
    store = Flaky(rng)
    store.fair = True
    service, expected = started(store), dict.fromkeys(RULES, 0)
    try:
        made = [(tokens(service, rng, f"s{i}"), rng.randint(0, 20_000) / 20) for i in range(2_500)]
        store.fair, n = False, 0
        while store.failures < FAILURES:
            decisions, value = made[n % len(made)]
            journey = Journey(decisions, value, f"order-{n}")
            shares: dict[str, float] = {}
            for decision, one in zip(decisions, insisted(service, journey), strict=True):
                assert one.answer in (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.IGNORED)
                name = name_of(service, decision)
                shares[name] = shares.get(name, 0.0) + one.value
            for name, total in shares.items():
                unit = RULES[name][1]
                assert round(total / unit, 6) == round(value / unit)
                expected[name] += round(value / unit)
            n += 1
        store.fair = True
        assert {name: credited(store, name) for name in RULES} == expected
    finally:
        service.stop()


def name_of(service: Service, decision: bytes) -> str:
    uid = TokenKeys(KEYS.tokens).open(decision).uid
    return service.directory.known(uid).experiment.name

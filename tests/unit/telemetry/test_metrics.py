from __future__ import annotations

import math
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.exposition import Dump, Exposition
from service.telemetry.metric_families import FAMILIES, RPC_BOUNDS
from service.telemetry.metrics import SLICE, Age, Counter, Gauge, Histogram, Metrics, Rpc


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def dump(metrics: Metrics, worker: str = "0", started: float = 1.0, *, ready: bool = True, why: str = "") -> Dump:
    made = Dump(worker, started, ready, why, metrics.samples())
    return msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Dump)


def scraped(exposition: Exposition) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(exposition.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exposition(clock: Clock) -> Exposition:
    return Exposition(CollectorRegistry(), clock=clock)


def test_a_counter_loses_nothing_under_threads() -> None:
    counter = Counter("lever_decisions_total")
    key = ("hero", "calm", "POLICY")

    def hit() -> None:
        for turn in range(20_000):
            counter.hit(key)
            if not turn % 100:
                counter.add(key, 2)

    threads = [threading.Thread(target=hit) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counter.samples()  # sums while the others count
    assert counter.samples() == [(key, [4 * (20_000 + 2 * 200)])]


def test_an_exact_count_of_hits_and_adds() -> None:
    counter = Counter("lever_rewards_total")
    for _ in range(3 * SLICE + 1):
        counter.hit(("hero", "APPLIED"))
    counter.add(("hero", "LATE"), 7)
    assert dict(counter.samples()) == {("hero", "APPLIED"): [3 * SLICE + 1], ("hero", "LATE"): [7]}


@given(st.lists(st.floats(0, 3, allow_nan=False) | st.sampled_from(RPC_BOUNDS), max_size=50))
def test_a_histogram_puts_each_value_below_the_first_bound_that_holds_it(values: list[float]) -> None:
    histogram = Histogram("grpc_server_handling_seconds")
    for value in values:
        histogram.observe(value, ("unary", "s", "m"))
    expected = [0] * (len(RPC_BOUNDS) + 1)
    for value in values:
        expected[next((i for i, bound in enumerate(RPC_BOUNDS) if value <= bound), len(RPC_BOUNDS))] += 1
    if values:
        ((_, (*counts, total)),) = histogram.samples()
        assert counts == expected
        assert math.isclose(total, sum(values), abs_tol=1e-9)


def test_ages_grow_by_themselves_and_gauges_do_not() -> None:
    age, gauge = Age("lever_flush_age_seconds"), Gauge("lever_log_entries")
    age.mark(age_s=50)
    gauge.set(3, ("hero",))
    ((_, (first,)),) = age.samples()
    ((_, (second,)),) = age.samples()
    assert 50 <= first <= second
    assert gauge.samples() == [(("hero",), [3])]
    gauge.remove(("hero",))
    assert gauge.samples() == []


def test_every_instrument_has_a_family_and_every_family_an_instrument() -> None:
    names = set(Metrics().samples())
    assert names == set(FAMILIES) - {"lever_worker_ready"}  # which the HTTP process knows best


def test_workers_add_up(exposition: Exposition) -> None:
    for worker, hits in (("0", 2), ("1", 3)):
        metrics = Metrics()
        rpc = Rpc(metrics, "unary", "lever.v1.PersonalizationService", "Select")
        for _ in range(hits):
            metrics.decisions.hit(("hero", "calm", "POLICY"))
            rpc.start()
            rpc.end(0.0002)
        rpc.start()
        rpc.end(3.0, "NOT_FOUND")
        metrics.store_up.set(hits - 2)
        metrics.log_entries.set(hits, ("hero",))
        exposition.update(dump(metrics, worker))
    found = scraped(exposition)
    labels = (("grpc_method", "Select"), ("grpc_service", "lever.v1.PersonalizationService"), ("grpc_type", "unary"))
    assert found["lever_decisions_total", (("arm", "calm"), ("experiment", "hero"), ("reason", "POLICY"))] == 5
    assert found["grpc_server_started_total", labels] == 7
    assert found["grpc_server_handled_total", (("grpc_code", "OK"), *labels)] == 5
    assert found["grpc_server_handled_total", (("grpc_code", "NOT_FOUND"), *labels)] == 2
    assert found["grpc_server_handling_seconds_count", labels] == 7
    assert found["grpc_server_handling_seconds_bucket", tuple(sorted((*labels, ("le", "0.00025"))))] == 5
    assert found["grpc_server_handling_seconds_bucket", tuple(sorted((*labels, ("le", "+Inf"))))] == 7
    assert found["grpc_server_handling_seconds_sum", labels] == pytest.approx(6.001)
    assert found["lever_store_up", ()] == 0
    assert found["lever_log_entries", (("experiment", "hero"),)] == 3


def test_a_workers_restart_never_makes_a_sum_go_down(exposition: Exposition) -> None:
    key = ("lever_decisions_total", (("arm", "calm"), ("experiment", "hero"), ("reason", "POLICY")))
    metrics = Metrics()
    metrics.decisions.add(("hero", "calm", "POLICY"), 10)
    exposition.update(dump(metrics))
    exposition.update(dump(metrics))  # the same again: totals, not differences
    assert scraped(exposition)[key] == 10
    reborn = Metrics()
    exposition.update(dump(reborn, started=2.0))
    assert scraped(exposition)[key] == 10
    reborn.decisions.add(("hero", "calm", "POLICY"), 1)
    exposition.update(dump(reborn, started=2.0))
    assert scraped(exposition)[key] == 11


def test_gauges_of_a_worker_that_is_gone_are_left_out(exposition: Exposition, clock: Clock) -> None:
    metrics = Metrics()
    metrics.log_entries.set(9, ("hero",))
    exposition.update(dump(metrics, "0"))
    metrics.log_entries.set(4, ("hero",))
    exposition.update(dump(metrics, "1"))
    exposition.leave("0", started=1.0)
    found = scraped(exposition)
    assert found["lever_log_entries", (("experiment", "hero"),)] == 4
    assert (found["lever_worker_ready", (("worker", "0"),)], found["lever_worker_ready", (("worker", "1"),)]) == (0, 1)
    clock.now += 6
    assert ("lever_log_entries", (("experiment", "hero"),)) not in scraped(exposition)


def test_readiness_needs_one_worker_and_says_why_not(exposition: Exposition, clock: Clock) -> None:
    assert exposition.readiness() == (False, ["no worker has reported yet"])
    exposition.update(dump(Metrics(), "0", ready=False, why="waiting for the store: connection"))
    assert exposition.readiness() == (False, ["worker 0: waiting for the store: connection"])
    exposition.update(dump(Metrics(), "1"))
    assert exposition.readiness() == (True, ["worker 0: waiting for the store: connection"])
    exposition.leave("1", started=0.5)  # an earlier life's connection ends late
    assert exposition.readiness()[0]
    exposition.leave("1", started=1.0)
    assert exposition.readiness() == (False, ["worker 0: waiting for the store: connection", "worker 1: not heard of"])
    exposition.update(dump(Metrics(), "1", started=2.0))
    clock.now += 6
    assert not exposition.readiness()[0]

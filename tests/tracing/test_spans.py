"""Calls, flushes and calls of the store as spans: of a real worker's parts, by OpenTelemetry's own exporters."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest
from opentelemetry.context import attach, detach
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.learning.flusher import Flusher
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.process.settings import settings
from service.rpc.server import Server
from service.rpc.unary.calls import Method
from service.rpc.unary.queues import Queues
from service.security.secrets import Secrets
from service.server.assemble import Service, Tuning, build
from service.server.worker import make, traced
from service.serving.token import from_text
from service.store.counted import Counted
from service.store.embedded import Embedded
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from service.tracing.provider import provider
from service.tracing.spans import Traces, caller
from tests.rig.calls import failure
from tests.rig.lever import HERO, LOCAL
from tests.rig.waiting import eventually

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
UNSAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)


@dataclass
class Traced:
    """A server whose spans stay in memory."""

    stub: PersonalizationServiceStub
    service: Service
    memory: InMemorySpanExporter

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.memory.get_finished_spans() if span.name.endswith(name)]


@pytest.fixture(params=[1.0])
def world(request: pytest.FixtureRequest) -> Iterator[Traced]:
    """`param`: the share of calls that are traced."""
    memory, metrics = InMemorySpanExporter(), Metrics()
    made = provider(request.param, SimpleSpanProcessor(memory))
    traces = Traces(made.get_tracer("lever"))
    secrets = Secrets([b"a key that is used for tests only"], b"subjects")
    service = build(traces.store(MemoryStore(), metrics), secrets, metrics, Tuning(poll_ms=20, flush_ms=20))
    service.feed.flush = traces.flush(service.feed.flush, service.feed.waiting)
    service.start()
    service.experiments.put(HERO, None)
    service.feed.refresh(60.0)
    server = Server(service.use_cases, service.experiments, metrics, trace=traces.method)
    port = server.bind("127.0.0.1:0")
    server.start()
    server.set_ready(ready=True)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=LOCAL) as channel:
        memory.clear()
        yield Traced(PersonalizationServiceStub(channel), service, memory)
    server.stop(5)
    service.stop()
    made.shutdown()


def hero(subject: str = "ann") -> pb.SelectRequest:
    return pb.SelectRequest(experiment="hero", subject=subject)


def test_a_call_is_a_span_of_its_callers_trace(world: Traced) -> None:
    decision = world.stub.Select(hero(), metadata=PARENT, timeout=30).decision_id
    world.stub.Reward(pb.RewardRequest(decision=from_text(decision)), metadata=PARENT, timeout=30)
    world.stub.ExposeBatch(
        pb.ExposeBatchRequest(exposures=[pb.ExposeRequest(decision=from_text(decision))]), metadata=PARENT, timeout=30
    )
    for method in ("Select", "Reward", "ExposeBatch"):
        (span,) = eventually(lambda method=method: world.spans(f"PersonalizationService/{method}"))  # type: ignore[misc]
        assert span.parent is not None
        assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
        assert dict(span.attributes or {}) == {
            "rpc.system": "grpc", "rpc.service": "lever.v1.PersonalizationService", "rpc.method": method,
            "rpc.grpc.status_code": 0,
        }  # fmt: skip


def test_a_flush_and_what_it_asks_of_the_store_are_one_trace(world: Traced) -> None:
    world.stub.Select(hero(), timeout=30)
    world.service.feed.flushed(30.0)
    (flush,) = eventually(lambda: world.spans("flush"))
    (append,) = world.spans("store append")
    assert append.parent is not None
    assert append.parent.span_id == flush.context.span_id
    assert dict(flush.attributes or {}) == {"lever.waiting": 1}
    assert not world.spans("store poll")


def test_a_call_that_waits_for_the_store_has_it_below(world: Traced) -> None:
    request = pb.SelectRequest(experiment="hero", subject="ann", deferred=True)
    shown = pb.ExposeRequest(decision=from_text(world.stub.Select(request, timeout=30).decision_id))
    world.stub.ExposeBatch(pb.ExposeBatchRequest(exposures=[shown]), metadata=PARENT, timeout=30)
    (call,) = eventually(lambda: world.spans("ExposeBatch"))
    below = [span for span in world.spans("store reward") if span.parent]
    assert below
    assert {span.context.trace_id for span in below} == {call.context.trace_id}


def test_what_went_wrong_is_said_and_a_callers_own_fault_is_no_error(world: Traced) -> None:
    failure(world.stub.Select, pb.SelectRequest(experiment="other", subject="ann"))
    (span,) = eventually(lambda: world.spans("Select"))
    assert (span.attributes or {})["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert span.status.is_unset


@pytest.mark.parametrize("world", [0.0], indirect=True)
def test_only_what_callers_trace_is_traced_where_the_share_is_0(world: Traced) -> None:
    for metadata in ((), UNSAMPLED, (("traceparent", "nonsense"),), PARENT):
        world.stub.Select(hero(), metadata=metadata, timeout=30)
    (span,) = eventually(lambda: world.spans("Select"))
    assert f"{span.context.trace_id:032x}" == TRACE
    world.service.feed.flushed(30.0)
    assert {span.name.rpartition("/")[2] for span in world.memory.get_finished_spans()} == {"Select"}


def test_while_it_is_off_the_very_same_functions_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a wrapper, not a branch: the methods that the queues get are those that the guard made."""
    served: dict[bool, list[Method]] = {True: [], False: []}
    secrets = Secrets([b"a key that is used for tests only"], b"subjects")
    service = build(Counted(MemoryStore(), Metrics()), secrets, Metrics())
    kept = Traces(provider(1.0, SimpleSpanProcessor(InMemorySpanExporter())).get_tracer("lever"))
    with traced(None) as none:
        assert none is None
    for on in (True, False):
        monkeypatch.setattr(Queues, "add", lambda _, method, on=on: served[on].append(method))
        monkeypatch.setattr(Queues, "make", lambda *_: None)
        Server(service.use_cases, service.experiments, Metrics(), trace=kept.method if on else None).stop(0)
    for off, put in zip(served[False], served[True], strict=True):
        assert "tracing" not in off.answer.__module__ + (off.take.__module__ if off.take else "")
        if "lever.v1" in off.path:
            assert "tracing" in put.answer.__module__
    assert getattr(service.feed.flush, "__func__", None) is Flusher.flush


def test_spans_reach_a_collector(valkey: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker sets it up, by OpenTelemetry's own variables; what comes over HTTP is read as a collector reads it."""
    got: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            plain = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            got.append(ExportTraceServiceRequest.FromString(plain))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    asked = settings({"data_dir": tmp_path}, {"LEVER_TRACES": "0"})
    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        with traced(asked.traces) as traces:
            assert traces is not None
            service = make(asked, valkey.url, Metrics(), traces)
            assert "tracing" in service.feed.flush.__module__
            service.close()
            token = attach(caller(PARENT))
            traces.store(MemoryStore(), Metrics()).deleted(["ab"])  # a poll's: no span
            assert not traces.store(MemoryStore(), Metrics()).versions("ab")
            detach(token)
        eventually(lambda: got)
        collector.shutdown()
    (resource,) = got[0].resource_spans
    assert {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"] == "shop"
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("store load", TRACE, SPAN)

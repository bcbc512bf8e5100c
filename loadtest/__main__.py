"""`python -m loadtest COMMAND`: one line of the table a command; its module is imported only when it is asked for.

A command's module has `main(arguments: Sequence[str]) -> int`, which returns the exit code.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

from service.process.kernel_cache import use_kernel_cache

# command: (module, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "tables": (
        "loadtest.tables.command",
        "writes the figures of docs/numbers into README.md and docs; --check: which differ?",
    ),
    "faults": (
        "loadtest.endurance.faults",
        "kills, cuts and freezes under load: is anything acknowledged lost or counted twice?",
    ),
    "mail": (
        "loadtest.mailing.command",
        "a million recipients from CSV to CSV, killed at random: is everybody chosen for once?",
    ),
    "cluster": (
        "loadtest.endurance.cluster",
        "primaries of a cluster are killed in turn, a slot moves: is anything acknowledged lost?",
    ),
    "replay": (
        "loadtest.replay.command",
        "real logs of a fashion shop through the live server: what is learning worth?",
    ),
    "learning": ("loadtest.learning.runner", "Lever and other libraries on the same problems: who collects more?"),
    "delay": (
        "loadtest.learning.delay",
        "conversions that come days later, and a new arm: when does it have the traffic that it deserves?",
    ),
    "drift": (
        "loadtest.learning.drift",
        "a shop in which something changes: what is lost by it, and when is it found?",
    ),
    "coverage": ("loadtest.coverage.command", "simulated experiments: is what a report says of arms true?"),
    "fuzz": (
        "loadtest.endurance.fuzz",
        "malformed input against a real server: no crash, no internal error, flat memory",
    ),
    "hostile": (
        "loadtest.endurance.hostile.command",
        "callers without a key try to stop it: what do the others notice?",
    ),
    "overload": ("loadtest.endurance.overload", "more calls than it can answer: what is still answered, and how fast"),
    "soak": ("loadtest.endurance.soak", "minutes or hours of traffic: do memory and descriptors grow?"),
    "http": ("loadtest.speed.http", "an evaluation by OFREP beside a gRPC Select, on one core"),
    "rivals": (
        "loadtest.speed.rivals",
        "choices a second beside others' servers and empty ones, each with all of it on one core",
    ),
    "rpc": ("loadtest.speed.rpc", "a full decision beside an empty call: CPU, calls a second, latency"),
    "start": ("loadtest.speed.start", "a first start and the next: CPU, kernel by kernel, and seconds"),
    "reports": (
        "loadtest.speed.reports",
        "Select's latency while reports of a large experiment are made, and while none are",
    ),
    "kernels": ("loadtest.speed.kernels", "decide and learn in process, beside bare NumPy and other libraries"),
    "open": ("loadtest.speed.open", "an open loop with a mixed load: latency at 25 to 90 % of capacity"),
    "store": ("loadtest.speed.store", "what trials, rewards and polls cost the store: CPU, memory, file"),
    "spread": (
        "loadtest.capacity.spread",
        "one experiment among up to 10,000 on a cluster: CPU of a start, a turn, a choice, a reward",
    ),
    "sharing": (
        "loadtest.capacity.sharing",
        "a busy experiment that all servers add up, beside one that adds up for the others: CPU, and how old it gets",
    ),
    "adding": (
        "loadtest.capacity.adding",
        "what it costs a server to read the rows of all and to add them up",
    ),
    "scale": ("loadtest.speed.scale", "cost of a decision, start and memory as everything grows"),
}


def usage() -> str:
    """What to type."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: python -m loadtest COMMAND [options]", "", *lines, "", "COMMAND --help says more."])


def main(arguments: Sequence[str]) -> int:
    """Run one command."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(usage())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"unknown command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    use_kernel_cache()
    return int(importlib.import_module(COMMANDS[name][0]).main(rest))


if __name__ == "__main__":
    # So that a server that was started ends with whoever started it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))

"""`python -m loadtest COMMAND`: one line of the table a command; its module is imported only when it is asked for.

A command's module has `main(arguments: Sequence[str]) -> int`, which returns the exit code.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

# command: (module, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "replay": ("loadtest.replay", "real logs of a fashion shop through the live server: what is learning worth?"),
    "rpc": ("loadtest.rpc", "a full decision beside an empty call: CPU, calls a second, latency"),
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
    return int(importlib.import_module(COMMANDS[name][0]).main(rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How many files and connections a process may have open."""

from __future__ import annotations

import sys

ENOUGH = 65_536


def raise_limit() -> None:
    """Take as many as the system lets us have; children inherit it. Systems start processes with 1,024."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def limit() -> int:
    """How many it may have."""
    if sys.platform == "win32":
        return ENOUGH
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return ENOUGH if soft == resource.RLIM_INFINITY else soft

"""What kind of store an address leads to, before anything is kept there."""

from __future__ import annotations

from service.errors import PreconditionError
from service.store.scripts import info_lines
from service.store.wire import CLUSTER, NO_CLUSTER, Wire, pool_of


def refuse_cluster(url: str, timeout: float = 1.0) -> None:
    """PreconditionError for a Redis Cluster. UnavailableError where nobody answers; one that does not tell is let be."""
    pool = pool_of(url, timeout)
    try:
        info = Wire(pool).told("INFO", "cluster") or b""
    finally:
        pool.disconnect()
    if info_lines(info.decode(errors="replace")).get("cluster_enabled") == "1":
        raise PreconditionError(NO_CLUSTER, CLUSTER)

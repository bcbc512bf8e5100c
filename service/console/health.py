"""How the server is, from the same sums as /metrics."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from service.telemetry.exposition import Exposition

SHOWN = frozenset({
    "lever_build_info", "lever_changes", "lever_checkpoint_age_seconds", "lever_decisions", "lever_divergence",
    "lever_flush_age_seconds", "lever_guardrail_paused", "lever_log_ends_lost", "lever_lost", "lever_outage", "lever_rewards", "lever_shed",
    "lever_snapshot_age_seconds", "lever_store_errors", "lever_store_evicts", "lever_store_up", "lever_trials_dropped",
    "lever_unreadable", "lever_worker_ready",
})  # fmt: skip


def health(exposition: Exposition) -> bytes:
    """Readiness as /readyz says it, and samples: by family a list of labels and value."""
    ready, lines = exposition.readiness()
    families: dict[str, list[dict[str, Any]]] = {}
    for family in exposition.collect():
        if family.name in SHOWN:
            finite = (one for one in family.samples if math.isfinite(one.value))
            families[family.name] = [{"labels": one.labels, "value": one.value} for one in finite]
    return msgspec.json.encode({"ready": ready, "lines": lines, "families": families})

"""A slow twin of what guardrails judge by: dictionaries, one row at a time."""

from __future__ import annotations

from collections import defaultdict

from bandits.state import Rules
from tests.oracles.state import Row, oracle_group, shift


def cells(rows: list[Row], rules: Rules) -> dict[tuple[object, ...], int]:
    """Every non-zero cell, named in words, of rows that were all decided under these rules."""
    out: dict[tuple[object, ...], int] = defaultdict(int)
    for row in rows:
        held = oracle_group(row.flags) == 1
        if not held and (oracle_group(row.flags) != 0 or row.propensity <= 0.0):
            continue
        named = bool(row.flags & 128)
        if held and named:
            continue
        weight = 0 if held else round(min(1 / row.propensity, 2**16) * 256)
        for arm in range(rules.arms) if held else [row.arm]:
            start, end = rules.window()[row.segment, arm].tolist()
            if not start <= row.time < end:
                continue
            trials = 1 if row.metric is None else row.exposes
            gained = 0
            if row.metric is not None and row.metric >= 0:
                dropped = rules.guarded[row.metric]
                gained = shift(row.new, dropped) - shift(row.old, dropped)
            for side, times in (("holdout", 1),) if held else (("own", 1), ("drawn", weight))[: 1 if named else 2]:
                where = (arm, side, row.bucket % 64)
                out["trials", *where] += trials * times
                out["squares", *where] += trials * (times if side != "drawn" else (weight // 256) ** 2)
                if gained:
                    out["total", *where, row.metric] += gained * times
    return {key: value for key, value in out.items() if value}

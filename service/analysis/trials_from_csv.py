"""Logged decisions of one's own, a CSV file: arm, propensity, reward; optional unit and decision_time; features.

Any other column is a feature: a number if all its cells are, else a category; an empty cell is missing. There are no
segments, and every arm of the file could have been drawn for every row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits.state import Rules
from service.analysis.evaluation import MOST_CELLS, Trials
from service.errors import InvalidError
from service.experiment.encoder import Encoder
from service.experiment.features.registry import TYPES, feature_columns, guessed
from service.experiment.spec import CONSTANT, DAY_MS, MAX_ARMS, MAX_COLUMNS, ColumnSpec, FeatureSpec
from service.text.csv_table import Table, read

REQUIRED = ("arm", "propensity", "reward")
_OPTIONAL = ("unit", "decision_time")
_GRAIN = 1 << 20  # units of the largest reward

Ints = NDArray[np.int64]


def trials_of(text: str, low: float | None = None, high: float | None = None) -> Trials:
    """The trials in a CSV text. InvalidError by row: cells that are wrong, rewards outside [low, high] where given."""
    table = read(text, REQUIRED)
    reward = table.numbers("reward", -math.inf if low is None else low, math.inf if high is None else high)
    propensity = _propensity(table)
    time = table.times("decision_time") if "decision_time" in table.columns else np.zeros(table.rows, np.int64)
    for index, cell in enumerate(table.columns["arm"]):
        if not cell:
            table.problems.add(index, "arm", "must be given")
    names = [name for name in table.columns if name not in (*REQUIRED, *_OPTIONAL)]
    features = {name: guessed(table.columns[name]) for name in names}
    columns = _columns(features)
    table.problems.check()
    arms, arm = np.unique(np.array(table.columns["arm"]), return_inverse=True)
    if len(arms) > MAX_ARMS:
        raise InvalidError.field("column arm", f"names {len(arms):,} arms, at most {MAX_ARMS}")
    given = {name: TYPES[feature.type].cells(table, name) for name, feature in features.items()}
    x = Encoder(columns, features).encode_columns(given, table.rows).x[:, 1:]
    scale = float(np.abs(reward).max()) or 1.0
    unit = scale / _GRAIN
    rows, left = _firsts(table, time, len(arms))
    total = np.rint(reward / unit).astype(np.int64)
    rules = Rules(1, len(arms), 1, len(columns), 0, min(0, int(total.min())), max(1, int(total.max())), DAY_MS)
    return Trials(
        arms=tuple(arms.tolist()), arm=arm.astype(np.int64)[rows], segment=np.zeros(len(rows), np.int64),
        propensity=propensity[rows], total=total[rows], x=np.ascontiguousarray(x[rows]),
        choice=np.zeros(len(rows), np.int64), choices=(np.arange(len(arms)),), rules=rules, unit=unit, left_out=left,
    )  # fmt: skip


def _propensity(table: Table) -> NDArray[np.float64]:
    """The probabilities with which the arms were drawn, in (0, 1]."""
    found = table.numbers("propensity")
    for index in np.flatnonzero((found <= 0) | (found > 1)).tolist():
        table.problems.add(index, "propensity", f"must be above 0 and at most 1, not {found[index]:g}")
    return found


def _firsts(table: Table, time: Ints, arms: int) -> tuple[Ints, dict[str, int]]:
    """The first row of each unit by decision time, then by its place in the file; the newest that there is room for."""
    order = np.argsort(time, kind="stable")
    rows = order
    if "unit" in table.columns:
        _, first = np.unique(np.array(table.columns["unit"])[order], return_index=True)
        rows = order[np.sort(first)]
    most = MOST_CELLS // arms
    left = {
        "later visit of a unit": table.rows - len(rows),
        "older than there is room for": max(0, len(rows) - most),
    }
    return rows[-most:], {why: count for why, count in left.items() if count}


def _columns(features: dict[str, FeatureSpec]) -> list[ColumnSpec]:
    columns = [ColumnSpec("", CONSTANT)]
    for name, feature in features.items():
        columns += feature_columns(name, feature)
        if len(columns) > MAX_COLUMNS:
            wide = f"has {len(feature.values):,} values; " if feature.values else ""
            raise InvalidError.field(
                f"column {name}", f"{wide}all features together have at most {MAX_COLUMNS} columns"
            )
    return columns

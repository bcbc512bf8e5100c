"""Logged decisions of one's own, a CSV file: arm, propensity, reward; optional unit and decision_time; features.

Any other column is a feature: a number if its cells are, else a category; where most are numbers and some are not, those are
wrong. An empty cell is missing, among numbers NA, NaN and null are too. There are no segments, and every arm of the
file could have been drawn for every row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.state import Rules
from service.analysis.evaluation import MOST_CELLS, Trials
from service.errors import InvalidError
from service.experiment.encoder import Encoder
from service.experiment.features.registry import TYPES, feature_columns, guessed
from service.experiment.spec import CONSTANT, DAY_MS, MAX_ARMS, MAX_COLUMNS, MISSING, UNKNOWN, ColumnSpec, FeatureSpec
from service.text.csv_cells import missing, moment
from service.text.csv_format import Format
from service.text.csv_table import Table, read

REQUIRED = ("arm", "propensity", "reward")
_OPTIONAL = ("unit", "decision_time")
_GRAIN = 1 << 27  # units of the largest reward
_BIG = 1e12  # of a reward
_LEAST = 1e-12  # of a propensity

Ints = NDArray[np.int64]


def trials_of(text: str, low: float | None = None, high: float | None = None, form: Format | None = None) -> Trials:
    """The trials in a CSV text. InvalidError by row: cells that are wrong, rewards outside [low, high] where given."""
    table = read(text, REQUIRED, form, ("arm", *_OPTIONAL))
    reward = table.numbers("reward", -_BIG if low is None else low, _BIG if high is None else high)
    propensity = _propensity(table)
    time = table.times("decision_time") if "decision_time" in table.columns else np.zeros(table.rows, np.int64)
    for index, cell in enumerate(table.columns["arm"]):
        if not cell:
            table.problems.add(index, "arm", "must be given")
    names = [name for name in table.columns if name not in (*REQUIRED, *_OPTIONAL)]
    features = {name: guessed(table, name) for name in names}
    unit = _unit(table, reward)
    table.problems.check()
    x = _features(table, features)
    arms, arm = np.unique(np.array(table.columns["arm"]), return_inverse=True)
    if len(arms) > MAX_ARMS:
        raise InvalidError.field("column arm", f"names {len(arms):,} arms, at most {MAX_ARMS}")
    rows, left = _firsts(table, time, len(arms))
    total = np.rint(reward / unit).astype(np.int64)
    rules = Rules(1, len(arms), 1, x.shape[1] + 1, 0, min(0, int(total.min())), max(1, int(total.max())), DAY_MS)
    return Trials(
        arms=tuple(arms.tolist()), arm=arm.astype(np.int64)[rows], segment=np.zeros(len(rows), np.int64),
        propensity=propensity[rows], total=total[rows], x=np.ascontiguousarray(x[rows]),
        choice=np.zeros(len(rows), np.int64), choices=(np.arange(len(arms)),), rules=rules, unit=unit, left_out=left,
    )  # fmt: skip


def _propensity(table: Table) -> NDArray[np.float64]:
    """The probabilities with which the arms were drawn, in [_LEAST, 1]."""
    found = table.numbers("propensity")
    for index in np.flatnonzero((found <= 0) | (found > 1)).tolist():
        table.problems.add(index, "propensity", f"must be above 0 and at most 1, not {found[index]:g}")
    for index in np.flatnonzero((found > 0) & (found < _LEAST)).tolist():
        said = f"{found[index]:g} is so small that this row would outweigh all others; at least {_LEAST:g}"
        table.problems.add(index, "propensity", said)
    return found


def _unit(table: Table, reward: NDArray[np.float64]) -> float:
    """The grain of the rewards; what is nothing in it beside the largest one is noted."""
    sizes = np.nan_to_num(np.abs(reward))
    largest = int(sizes.argmax())
    unit = float(sizes[largest] or 1.0) / _GRAIN
    for index in np.flatnonzero((sizes > 0) & (sizes < unit)).tolist():
        said = f"{reward[index]:g} is lost beside the largest reward of the file, {reward[largest]:g}"
        table.problems.add(index, "reward", f"{said}: the two are no rewards of one kind (--min and --max bound them)")
    return unit


def _firsts(table: Table, time: Ints, arms: int) -> tuple[Ints, dict[str, int]]:
    """The first row of each unit by decision time, then by its place in the file; the newest that there is room for.

    A row whose unit is missing is a unit of its own.
    """
    order = np.argsort(time, kind="stable")
    rows = order
    if "unit" in table.columns:
        unknown = np.array([missing(cell) for cell in table.columns["unit"]], np.bool_)
        _, unit = np.unique(np.array(table.columns["unit"]), return_inverse=True)
        unit = np.where(unknown, table.rows + np.arange(table.rows), unit)
        _, first = np.unique(unit[order], return_index=True)
        rows = order[np.sort(first)]
    most = MOST_CELLS // arms
    left = {
        "later visit of a unit": table.rows - len(rows),
        "older than there is room for": max(0, len(rows) - most),
    }
    return rows[-most:], {why: count for why, count in left.items() if count}


def _features(table: Table, features: dict[str, FeatureSpec]) -> NDArray[np.int16]:
    """i2[rows, columns - 1], the encoded features; columns that are zero in all rows tell nothing and are left out."""
    given = {name: TYPES[feature.type].cells(table, name) for name, feature in features.items()}
    widths = {}
    for name, feature in features.items():
        present = given[name].present
        gaps = present is not None and not present.all()
        # No value is unknown here.
        widths[name] = sum(c.role not in (UNKNOWN, MISSING) for c in feature_columns(name, feature)) + int(gaps)
    if sum(widths.values()) >= MAX_COLUMNS:
        widest = max(widths, key=lambda name: widths[name])
        said = f"makes {widths[widest]:,} of {sum(widths.values()) + 1:,} columns, the most of all features"
        times = all(moment(cell) is not None for cell in table.columns[widest])
        hint = f", --columns decision_time={widest} takes it as the time of the decision" if times else ""
        said = f"{said}; at most {MAX_COLUMNS}: --leave-out leaves columns out{hint}"
        raise InvalidError.field(f"column {widest}", said)
    columns = [ColumnSpec("", CONSTANT)]
    for name, feature in features.items():
        columns += feature_columns(name, feature)
    x = Encoder(columns, features).encode_columns(given, table.rows).x[:, 1:]
    return x[:, x.any(axis=0)]

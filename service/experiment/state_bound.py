"""How large an experiment's state may become, and the refusal of one that would not fit (design decision 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.errors import InvalidError, Violation
from service.experiment.numbering import Numbers
from service.experiment.spec import MAX_COLUMNS
from service.text.fields import nearest

BUCKETS = 64  # time buckets at any age: about 17 fine ones, then at most four an octave
_GROUPS = 4
_SUMS = 4  # rewarded, sum and two of squares, for each metric and group
_SUBJECTS = 256 * 2
_ARM_SUBJECTS = 64 * 6
_GUARDED = 64 * 3  # for a metric, trials and their squares, of each arm once
_DELAYS = 32
_CELL = 8


def state_bytes(arms: int, segments: int, columns: int, metrics: int) -> int:
    """Bytes of state in the worst case: every arm was shown in every segment and in every time bucket.

    8 x segments x (64 x (arms x cells + 32 delay bins) + 512 x (1 + metrics) + 384 x arms) + 8 x 192 x arms x (2 + metrics)
    for guardrails, where cells, the sums of one arm in
    one segment and bucket, are d (d + 3) / 2 + 2 for learning over d columns (the constant among them), and
    4 groups x (1 + 4 x metrics) for counting.
    """
    cells = columns * (columns + 3) // 2 + 2 + _GROUPS * (1 + _SUMS * metrics)
    learned = segments * (BUCKETS * (arms * cells + _DELAYS) + _SUBJECTS * (1 + metrics) + _ARM_SUBJECTS * arms)
    return _CELL * (learned + _GUARDED * arms * (2 + metrics))


def room_for_products(numbers: Numbers, state_max: int) -> int:
    """How many columns may be added before the worst case exceeds a quarter of `state_max`: arms will be added too."""
    arms, segments, metrics = len(numbers.arms), len(numbers.segments), len(numbers.metrics)
    columns, room = numbers.learning_columns, 0
    while room < MAX_COLUMNS and state_bytes(arms, segments, columns + room + 1, metrics) <= state_max // 4:
        room += 1
    return room


def check_state(numbers: Numbers, lines: dict[str, int], state_max: int) -> None:
    """Raise InvalidError where the worst case exceeds `state_max` bytes; it says what would fit."""
    sizes = (len(numbers.arms), len(numbers.segments), numbers.learning_columns, len(numbers.metrics))
    need = state_bytes(*sizes)
    if need <= state_max:
        return
    arms, segments, columns, metrics = sizes
    room = (
        _fits(arms, lambda n: state_bytes(n, segments, columns, metrics), state_max, "arms"),
        _fits(segments, lambda n: state_bytes(arms, n, columns, metrics), state_max, "segments"),
        _fits(columns, lambda n: state_bytes(arms, segments, n, metrics), state_max, "feature columns"),
    )
    message = (
        f"{arms} arms x {segments} segments x {columns} feature columns with {metrics} metrics may need "
        f"{_mb(need)} of state, more than state.max, {_mb(state_max)}; {_advice(room)}"
    )
    field = "features" if columns > 1 else "arms"
    raise InvalidError([Violation(field, message, nearest(lines, field))])


def _fits(now: int, size: Callable[[int], int], limit: int, name: str) -> str:
    """The largest number that fits while the others stay, as words; "" where not even one does."""
    most = max((n for n in range(1, now) if size(n) <= limit), default=0)
    return f"{most} {name}" if most else ""


def _advice(room: Sequence[str]) -> str:
    fitting = [words for words in room if words]
    return f"what would fit: {' or '.join(fitting)}" if fitting else "cut arms, segments and features, or raise it"


def _mb(size: int) -> str:
    return f"{-(-size // (1 << 20)):,} MB"

"""Single cells of a CSV file: numbers with a decimal point or comma, times, and what programs write where there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

# What programs write where there is no number.
_MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none"})
COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+(?:[eE][-+]?[0-9]+)?")
_AMOUNT = re.compile(
    r"[-+]?[$€£]?\s?(?:[0-9]{1,3}(?:[.,' \u00a0\u202f][0-9]{3})+|[0-9]+)(?:[.,][0-9]+)?\s?[%$€£]?|[-+]?inf(?:inity)?",
    re.IGNORECASE,
)
_SPECIAL = re.compile(r'[",\r\n]')
GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")


def missing(cell: str) -> bool:
    """Whether a cell of numbers says that there is none."""
    return cell.lower() in _MISSING


def point(cell: str) -> float | None:
    """The number in a cell, with a decimal point; it may be nan or infinite. None where it is none."""
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def comma(cell: str) -> float | None:
    """The number in a cell, with a decimal comma."""
    return None if "." in cell else point(cell.replace(",", ".", 1))


def quoted(cell: str) -> str:
    """A cell as it is shown."""
    return f'"{cell[:40]}"' if cell else "nothing"


def amount(cell: str) -> bool:
    """Whether a person would take a cell for a number, though `number` may not: 1,234.50, 12 %, an infinity."""
    return point(cell) is not None or _AMOUNT.fullmatch(cell) is not None


def hint(cell: str) -> str:
    """What is to be said of a number with a comma in a file that has decimal points."""
    return ' (for decimal commas say --decimal ",")' if COMMA.fullmatch(cell) or GROUPED.fullmatch(cell) else ""


def moment(cell: str) -> int | None:
    """The time in a cell, milliseconds since 1970; None where it is none."""
    value = point(cell)
    if value is not None:
        return round(value) if abs(value) < 1e15 else None
    try:
        at = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def csv_cells(cells: Sequence[str]) -> Sequence[str]:
    """Cells as a CSV file has them (RFC 4180): in quotation marks where they need them."""
    return [_cell(cell) for cell in cells] if _SPECIAL.search("".join(cells)) else cells


def csv_line(cells: Sequence[str]) -> str:
    """A row of a CSV file."""
    return ",".join(csv_cells(cells)) + "\n"


def _cell(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell

"""What a caller may give, checked where it is made: every error is a ValueError that begins with the field's name.

One rule for names of people and events (`subject`, `event_id`): a text; a whole number or a UUID is written as one;
None, booleans and fractions are refused, as each is more likely a mistake than a name. One rule for numbers: what is a
number (int, float, Decimal, NumPy's scalars) or a text that spells one (`"49.90"`); booleans, NaN and infinities are
refused.
"""

from __future__ import annotations

import decimal
import math
import numbers
import re
import uuid
from collections.abc import Mapping
from typing import Any

SUBJECT_BYTES = 512
NAME_BYTES = 128  # experiments, arms, metrics, features, events
TEXT_BYTES = 1_024  # a category's value
TOKEN_CHARS = 1_024
FEATURES = 256
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def plain(value: Any) -> Any:
    """A scalar of NumPy or the like (no dimensions) as Python's own; anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def text_of(field: str, value: Any, most: int = NAME_BYTES) -> str:
    """A text of at most `most` bytes in UTF-8."""
    if not isinstance(value, str):
        raise ValueError(f"{field}: must be a text, not {value!r}")  # noqa: TRY004  # one class for all
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{field}: {value!r} holds half a character (a lone surrogate)") from None
    if size > most:
        raise ValueError(f"{field}: is longer than {most} bytes")
    return value


def name_of(field: str, value: Any, most: int = NAME_BYTES) -> str:
    """The name of a subject or an event: a text of 1 to `most` bytes."""
    value = plain(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, uuid.UUID):
        return str(value)
    if value is None or value == "":
        raise ValueError(f"{field}: must be given")
    return text_of(field, value, most)


def number_of(field: str, value: Any) -> float:
    """A finite number."""
    value = plain(value)
    spelled = isinstance(value, str) and _NUMBER.fullmatch(value) is not None
    if isinstance(value, bool) or not (spelled or isinstance(value, numbers.Real | decimal.Decimal)):
        raise ValueError(f"{field}: {value!r} is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{field}: {value!r} is not finite")
    return number


def decision_of(field: str, value: Any) -> str:
    """A decision id as a choice had it."""
    if len(text_of(field, value, TOKEN_CHARS)) == 0:
        raise ValueError(f"{field}: must be given")
    return str(value)


def features_of(context: Mapping[str, Any]) -> dict[str, float | str | bool]:
    """A context by feature. None is no value: the feature is missing."""
    features: dict[str, float | str | bool] = {}
    if len(context) > FEATURES:
        raise ValueError(f"context: has more than {FEATURES} features")
    for name, given in context.items():
        value, field = plain(given), f"context.{name}"
        text_of(field, name)
        if isinstance(value, bool):
            features[name] = value
        elif isinstance(value, str):
            features[name] = text_of(field, value, TEXT_BYTES)
        elif value is not None:
            features[name] = number_of(field, value)
    return features

"""A message as JSON has it: all fields under their own names, integers as integers, enums without their prefix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message


def plain(message: Message) -> dict[str, Any]:
    """What JSON has no word for is null: a message that is absent, and NaN and infinite numbers."""
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None:
        if field.is_repeated:
            return [plain(one) for one in value]
        return plain(value) if message.HasField(field.name) else None
    if field.is_repeated:
        return [_finite(one) for one in value]
    if field.enum_type is not None:
        return word(field.enum_type.name, field.enum_type.values_by_number[value].name)
    if field.has_presence and not message.HasField(field.name):
        return None
    return _finite(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def word(enum: str, name: str) -> str:
    """`Outcome`, `OUTCOME_APPLIED` → `APPLIED`."""
    return name.removeprefix(f"{enum.upper()}_")

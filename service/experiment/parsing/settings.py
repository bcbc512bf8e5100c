"""The settings of an algorithm, as an experiment and a policy file give them; and what is said of those that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.text.fields import Fields

if TYPE_CHECKING:
    from bandits.policy import Policy, Setting


def read_settings(fields: Fields, policy: Policy) -> dict[str, float]:
    """What is given, by name; settings that no longer exist are taken too, so that no old file is refused."""
    found: dict[str, float] = {}
    for key, setting in policy.settings.items():
        value = _word(fields, key, setting) if setting.words else fields.number(key, setting.low, setting.high)
        if value is not None:
            found[key] = value
    for key in policy.retired:
        value = fields.number(key)
        if value is not None:
            found[key] = value
    return found


def warnings_of(policy: Policy, given: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for each given setting that no longer exists."""
    return tuple(f"{key}: no longer exists; {policy.retired[key]}" for key in given if key in policy.retired)


def _word(fields: Fields, key: str, setting: Setting) -> float | None:
    """The place of a word among those that the setting takes."""
    if not fields.has(key):
        return None
    return float(setting.words.index(fields.choice(key, setting.words, setting.words[int(setting.default)])))

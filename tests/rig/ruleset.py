"""The shipped rules as data: alerts, recorded names, the metrics an expression reads, and the same rules in less time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from tests.rig.programs import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
FILES = ("rules.yml", "alerts.yml")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"(\d+)([smhd])"
_STRING = re.compile(r'"[^"]*"')
_BRACES = re.compile(r"\{[^}]*\}|\[[^]]*\]")
_CLAUSE = re.compile(r"\b(by|on|without|ignoring)\s*\([^)]*\)")
_NAME = re.compile(r"[a-zA-Z_:][\w:]*(?!\w|\s*\()")
_WORDS = {"and", "or", "unless", "offset", "group_left", "group_right", "bool"}


@dataclass(frozen=True)
class Rule:
    """One rule; `name` is the alert's or the recorded series'."""

    name: str
    alert: bool
    expr: str
    body: dict[str, Any]


def rules() -> list[Rule]:
    """All rules of the shipped files, in order."""
    groups = [group for file in FILES for group in yaml.safe_load((FOLDER / file).read_text())["groups"]]
    bodies = [body for group in groups for body in group["rules"]]
    return [Rule(body.get("alert") or body["record"], "alert" in body, body["expr"], body) for body in bodies]


def alerts() -> list[str]:
    """Names of all alerts."""
    return [rule.name for rule in rules() if rule.alert]


def metrics(expr: str) -> set[str]:
    """Names of the series that an expression selects."""
    bare = _CLAUSE.sub(" ", _BRACES.sub(" ", _STRING.sub(" ", expr)))
    bare = re.sub(rf"\boffset\s+{_DURATION}", " ", bare)
    return set(_NAME.findall(bare)) - _WORDS


def hastened(text: str, factor: int) -> str:
    """A rule file in which every duration (`for`, range windows, offsets) is `factor` times shorter. Nothing else changes."""

    def shorter(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) * _SECONDS[match[3]] * 1000 // factor}ms"

    return re.sub(rf"(\[|\boffset |\bfor: ){_DURATION}\b", shorter, text)

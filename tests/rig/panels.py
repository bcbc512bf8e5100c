"""The shipped dashboard as data: its panels, what they ask Prometheus, and the table of what was answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from service.telemetry.metric_families import FAMILIES
from tests.rig.programs import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "lever.json"
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
# Prometheus gives these to every series of a target.
TARGET = {"job", "instance"}


@dataclass(frozen=True)
class Query:
    """One query of a panel; `ref` is its letter."""

    row: str
    title: str
    ref: str
    expr: str
    legend: str

    @property
    def name(self) -> str:
        """Panel and letter, as the table has it."""
        return f"{self.title} {self.ref}"

    def asked(self, experiment: str = ".+", interval: str = "5m") -> str:
        """What Grafana would send with its variables filled in."""
        return self.expr.replace("$__rate_interval", interval).replace("$experiment", experiment)


def dashboard() -> dict[str, Any]:
    """The file."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """All that is not a row, in order."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Every query of every panel, in order."""
    found, row = [], ""
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        found += [
            Query(row, panel["title"], target["refId"], target["expr"], target.get("legendFormat", ""))
            for target in panel.get("targets", ())
        ]
    return found


def exported() -> dict[str, set[str]]:
    """Series that Lever exports, with their labels."""
    return {
        name + suffix: {*family.labels, *TARGET, *(("le",) if suffix == "_bucket" else ())}
        for name, family in FAMILIES.items()
        for suffix in SUFFIXES[family.kind]
    }


def nodes(expr: Any) -> Iterator[Any]:
    """An expression and everything in it. The parser's own `walk` does not go below binary operators."""
    yield expr
    for attribute in ("lhs", "rhs", "expr", "vector_selector", "args"):
        below = getattr(expr, attribute, None)
        for one in below if isinstance(below, list) else () if below is None else (below,):
            yield from nodes(one)


def uses(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Series that an expression selects, each with labels that are matched, grouped or joined by. ValueError where it
    does not parse.
    """
    for node in nodes(promql.parse(expr)):
        for below in nodes(node):
            if isinstance(below, promql.VectorSelector):
                matched = {matcher.name for matcher in below.matchers.matchers}
                yield below.name or "", matched | _grouping(node)


def kept(expr: str) -> set[str]:
    """Labels that a legend may show: those that the outermost aggregations keep."""
    outer = promql.parse(expr)
    while isinstance(outer, promql.BinaryExpr):
        outer = outer.lhs
    return set().union(*(_grouping(node) for node in nodes(outer) if isinstance(node, promql.AggregateExpr)))


def _grouping(node: Any) -> set[str]:
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql.BinaryExpr):
        modifier = modifier and modifier.matching
    return set(modifier.labels) if modifier else set()


def table(answers: dict[Query, list[dict[str, Any]]]) -> str:
    """Markdown: for each query how many series came back, and one of them."""
    lines = ["| panel | query | series | one of them, at the end |", "|---|---|---|---|"]
    row = ""
    for query, series in answers.items():
        if query.row != row:
            row = query.row
            lines.append(f"| **{row}** | | | |")
        asked = query.expr.replace("|", "\\|")
        lines.append(f"| {query.name} | `{asked}` | {len(series)} | {_shown(query, series)} |")
    return "\n".join(lines) + "\n"


def _shown(query: Query, series: list[dict[str, Any]]) -> str:
    one = max(series, key=lambda found: number(found["values"][-1][1]))
    legend = query.legend
    for label, value in one["metric"].items():
        legend = legend.replace("{{" + label + "}}", value)
    value = f"{number(one['values'][-1][1]):.4g}"
    return f"{legend.split('{{', maxsplit=1)[0].strip()}: {value}" if legend else value


def number(text: str) -> float:
    """A value of Prometheus, which writes numbers as texts; NaN is below everything."""
    value = float(text)
    return value if value == value else float("-inf")  # noqa: PLR0124  # NaN only

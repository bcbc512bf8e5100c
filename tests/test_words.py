"""What users read speaks the field's language: words that only the code's authors use for its parts are not in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.telemetry.metric_families import FAMILIES
from tests.rig.programs import ROOT

OURS = re.compile(r"\b(doors?|lanes?|shelf|shelves|claims?|folds|folded|folding|folds? (?:of|the))\b", re.IGNORECASE)
# For those who work on Lever, not with it.
INSIDE = {"internals.md", "learning.md", "design.md"}
FORMER = re.compile(r"The former name|\.Values\.door")  # what was renamed and is still understood
LOGS = {"info", "warning", "error", "critical", "exception"}


def pages() -> list[Path]:
    """README, docs, the contract and everything that is deployed."""
    found = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "proto").rglob("*.proto")]
    found += [p for p in (ROOT / "deploy").rglob("*") if p.is_file() and "locks" not in p.parts and p.suffix != ".png"]
    return sorted(page for page in found if page.name not in INSIDE)


def said(source: Path) -> Iterator[str]:
    """Texts of a file of the command line or the doctor, docstrings of commands included; elsewhere those of the log."""
    tree = ast.parse(source.read_text())
    if source.parent.name in {"cli", "doctor"}:
        nodes: list[ast.AST] = [tree]
    else:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        nodes = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in LOGS]
        nodes += [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value != "fold":  # Rich's own
                yield part.value


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_words_of_ours(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert [line for line in lines if OURS.search(line) and not FORMER.search(line)] == []


def test_help_errors_and_the_log_have_none() -> None:
    sources = [p for p in (ROOT / "service").rglob("*.py") if "pb" not in p.parts and p.name != "claims.py"]
    found = {p.name: [text for text in said(p) if OURS.search(text)] for p in sources}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_metrics_have_none() -> None:
    assert [f.name for f in FAMILIES.values() if OURS.search(" ".join([*f.name.split("_"), f.help, *f.labels]))] == []


@pytest.mark.parametrize("text", ["the HTTP door", "state = fold of the log", "Claims are gone", "it folds", "a lane"])
def test_a_word_of_ours_is_seen(text: str) -> None:
    assert OURS.search(text)


@pytest.mark.parametrize("text", ["outdoors", "10-fold", "planes", "is claimed", "a folder"])
def test_other_words_are_let_be(text: str) -> None:
    assert not OURS.search(text)

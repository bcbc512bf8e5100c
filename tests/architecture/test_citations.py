"""What comments and documents cite is in the repository: decisions, house rules, files, sections."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.programs import ROOT

DESIGN = (ROOT / "docs/design.md").read_text()
DECISIONS = set(re.findall(r"^\*\*(\d+)\. ", DESIGN, re.MULTILINE))
HOUSE_RULES = set(re.findall(r"^(\d+)\. ", DESIGN.partition("## House rules")[2], re.MULTILINE))
KINDS = (".py", ".lua", ".md", ".proto", ".js", ".mjs", ".toml", ".yaml", ".yml", ".json", ".tpl", ".txt", "Makefile")
TOPS = ("bandits", "service", "loadtest", "tests", "docs", "deploy", "proto")
HERE = "tests/architecture/test_citations.py"


def texts() -> dict[str, str]:
    """All that a person wrote."""
    found = [path for top in TOPS for path in (ROOT / top).rglob("*") if path.name.endswith(KINDS)]
    found += [path for path in ROOT.iterdir() if path.name.endswith(KINDS)]
    kept = (path for path in found if "pb/lever/v1" not in str(path) and "node_modules" not in str(path))
    return {str(path.relative_to(ROOT)): path.read_text() for path in kept if str(path.relative_to(ROOT)) != HERE}


def numbers(words: str, text: str) -> set[str]:
    """The numbers behind these words, `decisions 4 and 5` both."""
    lists = re.findall(rf"\b{words}s? ((?:\d{{1,2}}\b(?:, | and |/)?)+)", text, re.IGNORECASE)
    return {number for found in lists for number in re.findall(r"\d+", found)}


def decisions(text: str) -> set[str]:
    return {f"decision {one}" for one in numbers("decision", text) - DECISIONS}


def house_rules(text: str) -> set[str]:
    return {f"house rule {one}" for one in numbers("house rule", text) - HOUSE_RULES}


def outside(text: str) -> set[str]:
    """Notes that nobody else has."""
    return set(re.findall(r"\bnotes/\w+|\bnotes \(?[A-Z]\d+\b|\bnotes on [^\n]*, [A-Z]\d+\b|\bissue \d+\b", text))


def documents(text: str) -> set[str]:
    """Documents by path; links that are relative to their document are looked at below."""
    return {one for one in re.findall(r"\bdocs/[\w./-]+\.(?:md|svg|jsonl?)\b", text) if not (ROOT / one).exists()}


def python_files(text: str) -> set[str]:
    """Test files and modules by path, but for those of other projects ("MABWiser's tests/x.py")."""
    cited = re.findall(r"(?<!'s )\b(?:bandits|service|loadtest|tests)/[\w./-]+\.(?:py|lua)\b", text)
    return {one for one in cited if not (ROOT / one).exists()}


RULES: tuple[tuple[Callable[[str], set[str]], str], ...] = (
    (decisions, "# as design decisions 4 and 77 ask"),
    (house_rules, "# House rule 99"),
    (outside, "# notes/attic.md"),
    (outside, "# (notes E2)"),
    (documents, "# see docs/attic.md"),
    (python_files, "# see tests/unit/attic/test_box.py"),
)


@pytest.mark.parametrize("rule", {rule for rule, _ in RULES}, ids=lambda rule: rule.__name__)
def test_what_is_cited_is_there(rule: Callable[[str], set[str]]) -> None:
    wrong = {
        path: found
        for path, text in texts().items()
        if not path.startswith("tests/architecture/")
        if (found := rule(text))
    }
    assert not wrong


@pytest.mark.parametrize(("rule", "planted"), RULES)
def test_what_is_not_there_is_seen(rule: Callable[[str], set[str]], planted: str) -> None:
    assert rule(planted)


def test_the_decisions_are_numbered_without_a_gap() -> None:
    assert {str(number) for number in range(1, len(DECISIONS) + 1)} == DECISIONS
    assert {"4", "5", "14", "15"} <= DECISIONS


def broken(document: Path, text: str) -> list[str]:
    """Links to files and sections that are not there."""
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, section = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        heads = (
            re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            if target.suffix == ".md" and target.exists()
            else []
        )
        sections = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        if not target.exists() or (section and section not in sections):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_links_lead_somewhere(document: Path) -> None:
    assert broken(document, document.read_text()) == []


def test_a_link_that_leads_nowhere_is_seen() -> None:
    text = "[a](attic.md) [b](design.md#attic) [c](design.md#decisions) [d](https://x.example) [e](#attic)"
    assert broken(ROOT / "docs/design.md", text) == ["attic.md", "design.md#attic", "#attic"]

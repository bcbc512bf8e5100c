"""The lock files: what pyproject.toml asks for is in them, by hash, and they name no index."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.rig.programs import ROOT

LOCKS = ROOT / "deploy" / "locks"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, str]:
    """Versions by package, as this machine would install them."""
    pins = re.findall(r"^([^\s#][^\\]*?)\s*\\$", (LOCKS / name).read_text(), re.MULTILINE)
    here = [Requirement(pin) for pin in pins]
    chosen = [one for one in here if one.marker is None or one.marker.evaluate()]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in chosen}


def asked(*groups: str) -> list[Requirement]:
    """What the groups of pyproject.toml ask for."""
    lines: list[str] = []
    for group in groups:
        for line in PROJECT["dependency-groups"][group]:
            lines += [str(one) for one in asked(line["include-group"])] if isinstance(line, dict) else [line]
    return [Requirement(line) for line in lines]


def runtime() -> list[Requirement]:
    """What Lever itself asks for."""
    return [Requirement(line) for line in PROJECT["project"]["dependencies"]]


def extras() -> list[Requirement]:
    """What its extras ask for."""
    return [Requirement(line) for lines in PROJECT["project"]["optional-dependencies"].values() for line in lines]


@pytest.mark.parametrize(
    ("lock", "wanted"), [("runtime.txt", runtime()), ("dev.txt", [*runtime(), *extras(), *asked("dev")])]
)
def test_a_lock_holds_what_is_asked_for(lock: str, wanted: list[Requirement]) -> None:
    found = locked(lock)
    wrong = [str(one) for one in wanted if not one.specifier.contains(found.get(canonicalize_name(one.name), "0"))]
    assert not wrong, "run `make lock`"


def test_both_locks_agree() -> None:
    everything = locked("dev.txt")
    assert {name: everything.get(name) for name in locked("runtime.txt")} == locked("runtime.txt")


@pytest.mark.parametrize("lock", ["runtime.txt", "dev.txt"])
def test_a_lock_names_hashes_and_no_place(lock: str) -> None:
    text = (LOCKS / lock).read_text()
    assert "://" not in text
    assert not re.findall(r"^\s*-(?!-hash=sha256:)", text, re.MULTILINE)
    assert text.count("--hash=sha256:") >= len(locked(lock))

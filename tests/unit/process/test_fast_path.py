"""Which libraries' insides are used, and that what pip may install is what was tested."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bandits import _jit, _parts
from service.http import protocol
from service.process import fast_path
from service.process.fast_path import obstacle
from service.rpc.unary import grpc_core

PROJECT = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())["project"]
UNTESTED = {**protocol.UNTESTED, "grpcio": grpc_core.UNTESTED, "numba": ".".join(map(str, _parts.UNTESTED))}


@pytest.mark.parametrize("package", UNTESTED)
def test_pip_installs_none_that_was_not_tested(package: str) -> None:
    (asked,) = (text for text in PROJECT["dependencies"] if text.startswith(f"{package}>="))
    assert asked.partition("<")[2] == UNTESTED[package]


def test_what_is_installed_here_is_used() -> None:
    assert _parts.obstacle() == ""
    assert isinstance(protocol.protocol(), type)


@pytest.mark.parametrize(
    ("found", "used"),
    [("1.85.1", True), ("1.85.99", True), ("0.99", True), ("1.86.0", False), ("1.86.0rc1", False), ("1.100", False), ("2", False)],
)  # fmt: skip
def test_a_version_is_read_by_its_numbers(monkeypatch: pytest.MonkeyPatch, found: str, used: bool) -> None:
    monkeypatch.setattr(fast_path, "version", lambda _: found)
    assert (obstacle("some", "1.86") == "") == used


def test_what_lacks_is_named() -> None:
    part: Any = SimpleNamespace(here=1)
    assert obstacle("pytest", "99.0", ((part, ("here",)),)) == ""
    assert obstacle("pytest", "99.0", ((part, ("here",)), (None, ("gone", "away")))).endswith("has no gone, away")
    assert obstacle("no-such-package", "1.0") == "no-such-package is not installed"


def both(x: Any, n: int) -> float:
    total = 0.0
    for i in range(n):
        total += x[i] / 2
    return total


@pytest.mark.parametrize("lack", ["_HOOKS", "UNTESTED"])
def test_kernels_are_compiled_the_documented_way_where_the_other_is_not_there(
    monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    lazy: Any = _jit.entry(_jit.FLOATS, _jit.INT)(both)
    assert not lazy.signatures
    lacks = {"_HOOKS": {"core.cpu.CPUContext": ("what_this_numba_has_not",)}, "UNTESTED": (0, 1)}
    monkeypatch.setattr(_parts, lack, lacks[lack])
    assert _parts.obstacle()
    eager: Any = _jit.entry(_jit.FLOATS, _jit.INT)(both)
    monkeypatch.undo()
    assert len(eager.signatures) == 1
    x = np.arange(5.0)
    x.flags.writeable = False
    assert eager(x, 5) == lazy(x, 5) == 5.0
    assert eager.signatures == lazy.signatures
    with pytest.raises(TypeError):  # no other types start a compilation
        eager(x.astype(np.int64), 5)

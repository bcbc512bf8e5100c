"""Go for tests: Lever's client and programs that use it, built as in a module of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rig.programs import ROOT, missing, program

CLIENT = ROOT / "service/client/go"
DRIVER = ROOT / "tests/clients/drivers/go"
BUILD_S = 200


def environment() -> dict[str, str]:
    """The toolchain that is here, and no other."""
    return os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false -mod=readonly"}


def toolchain() -> str:
    """A Go that the client's go.mod takes. Debian's may be too old for that, in CI as well."""
    go = program("go")
    asked = subprocess.run(
        [go, "list", "-m"], cwd=CLIENT, env=environment(), capture_output=True, text=True, check=False
    )
    if asked.returncode:
        pytest.skip(f"this Go is too old for service/client/go ({asked.stderr.strip()[-300:]})")
    return go


def build(folder: Path, package: str = ".") -> Path:
    """The program of a package of the module in `folder`."""
    made = folder / "program"
    command = [toolchain(), "build", "-o", str(made), package]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    if "dial tcp" in done.stderr or "proxyconnect" in done.stderr:
        missing(f"what Go downloads ({done.stderr.strip()[-300:]})")
    assert done.returncode == 0, done.stderr
    return made


def driver(folder: Path) -> Path:
    """The driver of tests/clients, which needs no module of its own in a copy of the client's."""
    shutil.copytree(CLIENT, folder / "lever")
    shutil.copytree(DRIVER, folder / "lever/driver")
    return build(folder / "lever", "./driver")

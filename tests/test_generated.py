"""The committed stubs, of the server, the Python and the Go client, are what `make proto` writes for proto/, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from service.pb.lever.v1 import experiment_pb2, personalization_pb2
from tests.rig.clients import golang
from tests.rig.programs import ROOT

STUBS = {
    "generate": ("service/pb/**/*_pb2*.py*", "service/client/python/**/*_pb2*.py*"),
    "generate-go": ("service/client/go/**/*.pb.go",),
}


def generated(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """The generated files under a folder, by path."""
    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    return {str(f.relative_to(folder)): f.read_text() for f in files if f.suffix in (".py", ".pyi", ".go")}


@pytest.mark.parametrize("target", STUBS)
def test_committed_code_is_current(target: str, tmp_path: Path) -> None:
    if not all(map(find_spec, ("grpc_tools", "mypy_protobuf"))) and not os.environ.get("CI"):
        pytest.skip("grpcio-tools and mypy-protobuf are not installed: pip install --group proto")
    env = golang.environment()
    if target == "generate-go":
        golang.toolchain()
    command = ["make", "--silent", target, f"OUT={tmp_path}", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fresh, committed = generated(tmp_path, STUBS[target]), generated(ROOT, STUBS[target])
    assert fresh.keys() == committed.keys()
    assert fresh
    stale = [path for path in fresh if fresh[path] != committed[path]]
    assert not stale, "run `make proto`"


def test_wire_names_do_not_know_where_the_code_lives() -> None:
    services = [*personalization_pb2.DESCRIPTOR.services_by_name.values()]
    services += experiment_pb2.DESCRIPTOR.services_by_name.values()
    assert [s.full_name for s in services] == ["lever.v1.PersonalizationService", "lever.v1.ExperimentService"]

"""The committed code in service/pb is what `make proto` writes for proto/, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from service.pb.lever.v1 import experiment_pb2, personalization_pb2
from tests.rig.programs import ROOT


def generated(folder: Path) -> dict[str, str]:
    """The generated files under a folder, by path."""
    files = sorted(folder.glob("service/pb/**/*_pb2*.py*"))
    return {str(f.relative_to(folder)): f.read_text() for f in files if f.suffix in (".py", ".pyi")}


def test_committed_code_is_current(tmp_path: Path) -> None:
    if not all(map(find_spec, ("grpc_tools", "mypy_protobuf"))) and not os.environ.get("CI"):
        pytest.skip("grpcio-tools and mypy-protobuf are not installed: pip install --group proto")
    command = ["make", "--silent", "generate", f"OUT={tmp_path}", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fresh, committed = generated(tmp_path), generated(ROOT)
    assert fresh.keys() == committed.keys()
    stale = [path for path in fresh if fresh[path] != committed[path]]
    assert not stale, "run `make proto`"


def test_wire_names_do_not_know_where_the_code_lives() -> None:
    services = [*personalization_pb2.DESCRIPTOR.services_by_name.values()]
    services += experiment_pb2.DESCRIPTOR.services_by_name.values()
    assert [s.full_name for s in services] == ["lever.v1.PersonalizationService", "lever.v1.ExperimentService"]

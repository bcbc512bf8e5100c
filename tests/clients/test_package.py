"""lever_client is installed alone: beside grpcio and protobuf it needs nothing, and an application may have its own `service`."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.rig.programs import ROOT

# Only what the client declares is found, of all that this environment has.
ALONE = """
import sys
allowed = {"grpc", "google", "typing_extensions", "lever_client", "service"}
class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ModuleNotFoundError(f"{top} is not declared", name=top)
sys.meta_path.insert(0, Only())
import service
assert service.MINE
from lever_client import Lever
with Lever("127.0.0.1:1", timeout_s=0.01) as lever:
    assert lever.select("hero", "ann", default="calm").arm == "calm"
assert not {"numba", "numpy", "bandits"} & set(sys.modules)
"""


def test_it_is_installed_alone(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    client = ROOT / "service/client/python"
    subprocess.run([*pip, "--no-build-isolation", "--target", str(tmp_path / "site"), str(client)], check=True)
    (tmp_path / "service.py").write_text("MINE = True\n")
    path = ":".join([str(tmp_path), str(tmp_path / "site"), sysconfig.get_path("purelib")])
    # -S: the editable installation of this repository is not looked at.
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {path.split(':')!r}\n{ALONE}"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert not (client / "build").exists()


def test_stubs_of_both_and_of_an_application_live_in_one_process() -> None:
    from lever_client.pb.lever.v1 import personalization_pb2 as theirs
    from service.pb.lever.v1 import personalization_pb2 as ours

    assert theirs.DESCRIPTOR.name == ours.DESCRIPTOR.name == "lever/v1/personalization.proto"
    assert (
        theirs.SelectRequest(subject="ann").SerializeToString() == ours.SelectRequest(subject="ann").SerializeToString()
    )

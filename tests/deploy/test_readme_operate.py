"""The README's section "Operate" is followed word for word: from an empty folder to an alert that fires and ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.rig.programs import BIN, ROOT, missing

PORTS = {"50051": "LEVER_GRPC_PORT", "8080": "LEVER_HTTP_PORT", "6390": "", "9190": ""}
LONGEST_S = 100
# The waiting of the shipped files, cut short.
HASTE = r"sed -i -E 's/(interval|for): [0-9]+[sm]$/\1: 1s/' ops/prometheus/*.yml"


def free() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return str(held.getsockname()[1])


def follow(script: str, folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run it; the status and all that was said. Whatever happens, nothing that it started is left."""
    with (folder / "said").open("w") as said:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=env, stdout=said, stderr=said, start_new_session=True
        )
    try:
        status = shell.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        status = -1
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
    shell.wait(30)
    for pid in (folder / "ops").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGTERM)
    return status, (folder / "said").read_text()


def test_the_operators_first_hour(tmp_path: Path) -> None:
    for program in ("redis-server", "redis-cli", "prometheus", "promtool"):
        if shutil.which(program) is None:
            missing(program)
    section = (ROOT / "README.md").read_text().partition("\n## Operate\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    blocks[0] = blocks[0].replace("--daemonize yes", "--daemonize yes --pidfile $PWD/ops/store.pid")
    blocks[4] = blocks[4].replace("--daemonize yes", "--daemonize yes --pidfile $PWD/ops/store.pid")
    blocks[1] = blocks[1].replace("promtool check", f"{HASTE}\npromtool check")
    blocks[3] = blocks[3].strip() + ' && echo "no problem" || echo "ended with $?"\n'
    script = "".join(f"echo '# block {number}'\n{block}" for number, block in enumerate(blocks))
    env = {name: value for name, value in os.environ.items() if not name.startswith("LEVER_")}
    for port, name in PORTS.items():
        given = free()
        script = re.sub(rf"(localhost:|-p |--port ){port}\b", rf"\g<1>{given}", script)
        env |= {name: given} if name else {}
    env["LEVER_SERVER"] = f"localhost:{env['LEVER_GRPC_PORT']}"
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    script = f"set -e\n{script.replace('.venv/bin/', f'{BIN}/')}"
    status, text = follow(script, tmp_path, env)
    assert status == 0, text
    parts = re.split(r"^# block \d$", text, flags=re.MULTILINE)[1:]
    assert "the store is away" in parts[2].lower()
    assert 'alertname="LeverStoreUnreachable"' in parts[2]
    assert "ended with 1" in parts[3]
    assert "the server does not reach its store" in parts[3]
    assert "homepage-hero" in parts[4]

"""Node and Chromium for tests: packages from npm, installed once into the cache; programs of the test machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from service.process.kernel_cache import cache_dir
from tests.rig.programs import ROOT, missing, program

HERE = ROOT / "tests/http/node"
DRIVERS = ROOT / "tests/clients/drivers"
CLIENT = ROOT / "service/client/js"
INSTALL_S = 300


def packages() -> Path:
    """The node_modules of tests/http/node/package.json. Of several processes who come here one installs."""
    npm, manifest = program("npm"), HERE / "package.json"
    folder = cache_dir() / f"npm-{hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.copy(manifest, folder)
            command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
            ended = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            if ended.returncode:
                missing(f"what npm installs ({ended.stderr.strip()[-300:]})")
            (folder / "done").touch()
    return folder / "node_modules"


def workspace(folder: Path) -> Path:
    """A folder whose node_modules has those packages and Lever's own, as an installation would."""
    modules = folder / "node_modules"
    modules.mkdir()
    for package in packages().iterdir():
        if not package.name.startswith("."):
            (modules / package.name).symlink_to(package)
    shutil.copytree(CLIENT, modules / "lever-openfeature")
    # Lever's own is found through no link: its peers are looked for beside it.
    for script in (*HERE.glob("*.mjs"), *DRIVERS.glob("*.mjs")):
        shutil.copy(script, folder)
    return folder


def run(folder: Path, script: str, given: dict[str, Any], seconds: float = 100) -> Any:
    """What a script prints last, as JSON."""
    command = [program("node"), script, json.dumps(given)]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False, env=environment()
    )
    assert ended.returncode == 0, ended.stderr[-3000:] + ended.stdout[-1000:]
    return json.loads(ended.stdout.splitlines()[-1])


def environment() -> dict[str, str]:
    """Loopback is asked directly, whatever proxy the machine has."""
    return os.environ | {"NO_PROXY": "*", "no_proxy": "*"}

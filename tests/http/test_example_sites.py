"""The example sites that choose on the server: they start, show a hero, and its click is counted."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.clients import golang
from tests.rig.clients import node as nodes
from tests.rig.programs import ROOT, missing, program
from tests.rig.site import Site, site
from tests.rig.waiting import eventually

WEB = ROOT / "deploy/examples/web"


@pytest.fixture(scope="module")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    text = (WEB / "page-hero.yaml").read_text().replace("holdout: {share: 0.05}\n", "")
    with site(tmp_path_factory.mktemp("sites"), {"page-hero": text}) as made:
        yield made


def ask(address: str, method: str, path: str, body: str = "", cookie: str = "") -> tuple[int, str, str]:
    """Status, body and the cookie that was set."""
    link = http.client.HTTPConnection(address, timeout=20)
    try:
        link.request(method, path, body, {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"})
        answer = link.getresponse()
        return answer.status, answer.read().decode(), (answer.getheader("set-cookie") or "").split(";")[0]
    finally:
        link.close()


@contextmanager
def running(command: Sequence[str | Path], where: Path, env: Mapping[str, str], says: str, log: Path) -> Iterator[str]:
    """A site; its address, as it says it on its standard output or error."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=where, env={**nodes.environment(), **env}, stdout=output, stderr=output)
    try:
        eventually(lambda: re.search(says, log.read_text()) is not None)
        found = re.search(says, log.read_text())
        assert found is not None
        yield found[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM), log.read_text()
    finally:
        process.kill()
        process.wait()


def visit(lever: Site, address: str) -> None:
    """One visitor comes, sees a hero of the experiment, comes back, and clicks; the click is in the report."""
    before = lever.settled("page-hero")
    status, page, cookie = ask(address, "GET", "/")
    arm = re.search(r'data-variant="(\w+)"', page)
    assert status == 200
    assert arm is not None
    assert arm[1] in ("calm", "direct")
    assert cookie.startswith("visitor=")
    assert re.search(r'data-variant="(\w+)"', ask(address, "GET", "/", cookie=cookie)[1])[1] == arm[1]  # type: ignore[index]
    field = re.search(r'name="decision" value="([^"]+)"', page)
    body = f"decision={field[1]}" if field else ""
    assert ask(address, "POST", "/start", body, cookie)[0] == 303
    after = lever.await_trials("page-hero", sum(trials for trials, _ in before.values()) + 2)
    wanted = before[arm[1]][1] + 1
    eventually(lambda: lever.trials("page-hero")[arm[1]][1] == wanted)
    assert sum(trials for trials, _ in after.values()) == sum(trials for trials, _ in before.values()) + 2


def test_fastapi(lever: Site, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(WEB / "fastapi"), "--port", "0", "shop:app"]
    env = {
        "LEVER_SERVER": lever.grpc,
        "PYTHONPATH": os.pathsep.join([str(WEB / "fastapi"), str(ROOT / "service/client/python")]),
    }
    with running(command, tmp_path, env, r"running on http://(\S+)", tmp_path / "log") as address:
        visit(lever, address)


@pytest.mark.timeout(400)
def test_go_as_a_newcomer_types_it(lever: Site, tmp_path: Path) -> None:
    folder = tmp_path / "deploy/examples/web/go"
    shutil.copytree(WEB / "go", folder)
    shutil.copytree(golang.CLIENT, tmp_path / "service/client/go")
    env = {"LEVER_SERVER": lever.grpc, "PORT": "0"}
    with running([golang.build(folder)], folder, env, r"http://(\S+)", tmp_path / "log") as address:
        visit(lever, address)


@pytest.mark.timeout(400)
def test_node_as_a_newcomer_types_it(lever: Site, tmp_path: Path) -> None:
    npm, folder = program("npm"), tmp_path / "deploy/examples/web/node"
    shutil.copytree(WEB / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(nodes.CLIENT, tmp_path / "service/client/js")
    install = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        missing(f"what npm installs ({done.stderr.strip()[-300:]})")
    env = {"LEVER_URL": lever.url, "PORT": "0"}
    with running([npm, "start"], folder, env, r"http://(\S+)", tmp_path / "log") as address:
        visit(lever, address)

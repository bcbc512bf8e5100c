"""The process tree of `lever serve`: it comes up, survives the death of its parts, and goes down in order."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from tests.rpc.standin import LOCAL

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = """\
experiment: hero
state: active
arms:
  - id: calm
    payload: {title: Calm}
  - id: loud
    payload: {title: Loud}
default_arm: calm
algorithm: {name: beta}
metrics:
  - {id: click, primary: true, unit: 1, min: 0, max: 1, window: 1h, aggregate: first}
"""

Value = TypeVar("Value")


def eventually(look: Callable[[], bool], seconds: float = 60) -> None:
    """Returns once it is so."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def until(look: Callable[[], Value | None]) -> Value:
    """The first answer that is not None."""
    found: list[Value] = []

    def again() -> bool:
        answer = look()
        found.extend([] if answer is None else [answer])
        return bool(found)

    eventually(again)
    return found[0]


def children(parent: int) -> dict[int, str]:
    """Running children of a process: pid to command line."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found[int(stat.parent.name)] = command
    return found


class Tree:
    """A running `lever serve`."""

    def __init__(self, folder: Path, *options: str, **env: str) -> None:
        self.errors = folder / "stderr.log"
        command = [sys.executable, "-m", "service", "serve", "--data-dir", str(folder / "data"), *options]
        ports = {"LEVER_GRPC_PORT": "0", "LEVER_HTTP_PORT": "0"}
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=os.environ | ports | env
            )
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def await_ready(self) -> Tree:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"gRPC on (\S+), (http://\S+)/metrics", line)
        assert found, self.errors.read_text()
        self.grpc, self.http = found.groups()
        return self

    def family(self, word: str) -> list[int]:
        return sorted(pid for pid, command in children(self.process.pid).items() if word in command)

    def page(self, path: str) -> tuple[int, str]:
        try:
            with self.opener.open(self.http + path, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def select(self, channel: grpc.Channel) -> pb.SelectResponse:
        return PersonalizationServiceStub(channel).Select(
            pb.SelectRequest(experiment="hero", subject="ann"), timeout=30, wait_for_ready=True
        )

    def reward(self, channel: grpc.Channel, decision_id: str) -> int:
        return int(
            PersonalizationServiceStub(channel)
            .Reward(pb.RewardRequest(decision_id=decision_id), timeout=30, wait_for_ready=True)
            .outcome
        )

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        """However the test ended, nothing of the tree is left."""
        self.process.send_signal(signal.SIGSTOP)  # it shall start nothing new meanwhile
        family = list(children(self.process.pid)) if self.process.poll() is None else []
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        eventually(lambda: not any(alive(pid) for pid in family))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "hero.yaml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def tree(tmp_path: Path, experiment: Path) -> Iterator[Tree]:
    made = Tree(tmp_path, "--workers", "2", "--experiments", str(experiment))
    try:
        yield made.await_ready()
    finally:
        made.close()


def test_a_tree_serves_and_goes_down_in_order(tree: Tree) -> None:
    with grpc.insecure_channel(tree.grpc, options=LOCAL) as channel:
        made = tree.select(channel)
        assert tree.reward(channel, made.decision_id) == pb.OUTCOME_APPLIED
        assert tree.reward(channel, made.decision_id) == pb.OUTCOME_DUPLICATE
    assert tree.page("/livez") == (200, "alive\n")
    eventually(lambda: tree.page("/readyz") == (200, "ready\n"))
    assert tree.page("/nothing")[0] == 404
    eventually(lambda: 'lever_decisions_total{arm="' in tree.page("/metrics")[1])
    eventually(lambda: tree.page("/metrics")[1].count("lever_worker_ready{") == 2)
    family = children(tree.process.pid)
    assert sorted(re.search(r"service(\.\w+)+|valkey|redis", command)[0] for command in family.values()) == [  # type: ignore[index]
        "service.http.operator_port", "service.server.worker", "service.server.worker", "valkey",
    ]  # fmt: skip
    # A terminal's Ctrl-C goes to its session: only the supervisor is in it.
    assert all(os.getsid(pid) != os.getsid(tree.process.pid) for pid in family)
    assert tree.stop() == 0
    assert not any(alive(pid) for pid in family)
    order = re.findall(r'"event": "(stopping: flushing trials|stopped)"', tree.errors.read_text())
    assert order[-1] == "stopped"
    assert order.count("stopping: flushing trials") == 2


def test_a_killed_worker_comes_back_and_so_does_a_killed_store(tree: Tree) -> None:
    workers = tree.family("service.server.worker")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: (
            len(tree.family("service.server.worker")) == 2
            and not set(workers) & set(tree.family("service.server.worker"))
        )
    )
    with grpc.insecure_channel(tree.grpc, options=LOCAL) as channel:
        made = until(lambda: answered(lambda: tree.select(channel)))
        (store,) = tree.family("valkey")
        os.kill(store, signal.SIGKILL)
        eventually(lambda: tree.family("valkey") not in ([], [store]))
        assert until(lambda: answered(lambda: tree.reward(channel, made.decision_id))) == pb.OUTCOME_APPLIED
    assert tree.stop() == 0


def answered(call: Callable[[], Value]) -> Value | None:
    """The answer, or None while nobody is there to give one."""
    try:
        return call()
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017
        return None


def test_nothing_outlives_a_killed_supervisor(tree: Tree) -> None:
    family = list(children(tree.process.pid))
    assert len(family) == 4
    tree.process.kill()
    tree.process.wait()
    eventually(lambda: not any(alive(pid) for pid in family))


def test_a_second_signal_does_not_wait(tree: Tree) -> None:
    family = list(children(tree.process.pid))
    for pid in tree.family("service.server.worker"):
        os.kill(pid, signal.SIGSTOP)  # these will never flush
    tree.process.send_signal(signal.SIGINT)
    eventually(lambda: '"stopping"' in tree.errors.read_text())
    tree.process.send_signal(signal.SIGINT)
    assert tree.process.wait(20) == 1
    eventually(lambda: not any(alive(pid) for pid in family))


def test_a_restart_remembers(tmp_path: Path, experiment: Path) -> None:
    first = Tree(tmp_path, "--experiments", str(experiment)).await_ready()
    try:
        with grpc.insecure_channel(first.grpc, options=LOCAL) as channel:
            made = first.select(channel)
        assert first.stop() == 0
    finally:
        first.close()
    second = Tree(tmp_path).await_ready()
    try:
        with grpc.insecure_channel(second.grpc, options=LOCAL) as channel:
            assert second.reward(channel, made.decision_id) == pb.OUTCOME_APPLIED
    finally:
        second.close()


def test_a_wrong_experiment_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "hero.yaml"
    path.write_text(EXPERIMENT.replace("state: active", "state: activ"))
    tree = Tree(tmp_path, "--experiments", str(path))
    try:
        assert tree.process.wait(60) == 2
        assert f"error: {path}:2: state: " in tree.errors.read_text()
    finally:
        tree.close()


@pytest.mark.parametrize("name", ["LEVER_GRPC_PORT", "LEVER_HTTP_PORT"])
def test_a_taken_port_is_a_clear_error(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another Lever's would be
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        tree = Tree(tmp_path, **{name: str(port)})
        try:
            assert tree.process.wait(60) == 1
            assert f"cannot serve on 127.0.0.1:{port}: Address already in use" in tree.errors.read_text()
            assert not (tmp_path / "data").exists()
        finally:
            tree.close()


def test_without_a_store_it_is_alive_and_says_why_it_is_not_ready(tmp_path: Path) -> None:
    with socket.socket() as nobody:  # bound, not listening: refuses
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        tree = Tree(tmp_path, "--redis-url", url)
        try:
            http = until(lambda: re.search(r'"http": "(\S+?)"', tree.errors.read_text()))
            tree.http = f"http://{http[1]}"

            def said() -> bool:
                status, text = tree.page("/readyz")
                return status == 503 and "worker 0: waiting for the store: store: connection" in text

            eventually(said)
            assert tree.page("/livez")[0] == 200
            assert tree.stop() == 0
        finally:
            tree.close()

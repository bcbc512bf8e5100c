"""The process tree of `lever serve`: it comes up, survives the death of its parts, and goes down in order."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from loadtest.rig.processes import alive, command
from service.pb.lever.v1 import personalization_pb2 as pb
from tests.rig.lever import HERO, LOCAL, Lever
from tests.rig.waiting import answered, eventually


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "hero.yaml"
    path.write_text(HERO)
    return path


@pytest.fixture
def lever(tmp_path: Path, experiment: Path) -> Iterator[Lever]:
    with Lever(tmp_path, "--workers", "2", "--experiments", str(experiment)) as made:
        yield made


def test_a_tree_serves_and_goes_down_in_order(lever: Lever) -> None:
    with grpc.insecure_channel(lever.address, options=LOCAL) as channel:
        made = lever.select(channel)
        assert lever.reward(channel, made.decision_id) == pb.OUTCOME_APPLIED
        assert lever.reward(channel, made.decision_id) == pb.OUTCOME_DUPLICATE
    assert lever.page("/livez") == (200, "alive\n")
    eventually(lambda: lever.page("/readyz") == (200, "ready\n"))
    assert lever.page("/nothing")[0] == 404
    eventually(lambda: 'lever_decisions_total{arm="' in lever.page("/metrics")[1])
    eventually(lambda: lever.page("/metrics")[1].count("lever_worker_ready{") == 2)
    family = lever.children()
    assert sorted(re.search(r"service[.\w]+|valkey|redis", said)[0] for said in map(command, family)) == [  # type: ignore[index]
        "service.server.operator_worker", "service.server.worker", "service.server.worker", "valkey",
    ]  # fmt: skip
    # A terminal's Ctrl-C goes to its session: only the supervisor is in it.
    assert all(os.getsid(pid) != os.getsid(lever.process.pid) for pid in family)
    assert lever.stop() == 0
    assert not any(alive(pid) for pid in family)
    order = re.findall(r'"event": "(stopping: flushing trials|stopped)"', lever.said())
    assert order[-1] == "stopped"
    assert order.count("stopping: flushing trials") == 2


def test_a_killed_worker_comes_back_and_so_does_a_killed_store(lever: Lever) -> None:
    workers = lever.workers()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(lever.workers()) == 2 and not set(workers) & set(lever.workers()))
    with grpc.insecure_channel(lever.address, options=LOCAL) as channel:
        made = eventually(lambda: answered(lambda: lever.select(channel)))
        (store,) = lever.children("valkey")
        os.kill(store, signal.SIGKILL)
        eventually(lambda: lever.children("valkey") not in ([], [store]))
        assert eventually(lambda: answered(lambda: lever.reward(channel, made.decision_id))) == pb.OUTCOME_APPLIED
    assert lever.stop() == 0


def test_nothing_outlives_a_killed_supervisor(lever: Lever) -> None:
    family = lever.children()
    assert len(family) == 4
    lever.process.kill()
    lever.process.wait()
    eventually(lambda: not any(alive(pid) for pid in family))


def test_a_second_signal_does_not_wait(lever: Lever) -> None:
    family = lever.children()
    for pid in lever.workers():
        os.kill(pid, signal.SIGSTOP)  # these will never flush
    lever.process.send_signal(signal.SIGINT)
    eventually(lambda: '"stopping"' in lever.said())
    lever.process.send_signal(signal.SIGINT)
    assert lever.process.wait(20) == 1
    eventually(lambda: not any(alive(pid) for pid in family))


def test_a_restart_remembers(tmp_path: Path, experiment: Path) -> None:
    with Lever(tmp_path, "--experiments", str(experiment)) as first:
        with grpc.insecure_channel(first.address, options=LOCAL) as channel:
            made = first.select(channel)
        assert first.stop() == 0
    with Lever(tmp_path) as second, grpc.insecure_channel(second.address, options=LOCAL) as channel:
        assert second.reward(channel, made.decision_id) == pb.OUTCOME_APPLIED


def test_a_wrong_experiment_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "hero.yaml"
    path.write_text(HERO.replace("state: active", "state: activ"))
    with Lever(tmp_path, "--experiments", str(path)).starting() as lever:
        assert lever.process.wait(60) == 2
        assert f"error: {path}:2: state: " in lever.said()


@pytest.mark.parametrize("name", ["LEVER_GRPC_PORT", "LEVER_HTTP_PORT"])
def test_a_taken_port_is_a_clear_error(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another Lever's would be
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Lever(tmp_path, **{name: str(port)}).starting() as lever:
            assert lever.process.wait(60) == 1
            assert f"cannot serve on 127.0.0.1:{port}: Address already in use" in lever.said()
            assert not (tmp_path / "data").exists()


def test_without_a_store_it_is_alive_and_says_why_it_is_not_ready(tmp_path: Path) -> None:
    with socket.socket() as nobody:  # bound, not listening: refuses
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        with Lever(tmp_path, "--redis-url", url).starting() as lever:
            lever.http = eventually(lambda: re.search(r'"http": "(\S+?)"', lever.said()))[1]

            def said() -> bool:
                status, text = lever.page("/readyz")
                return status == 503 and "worker 0: waiting for the store: store: connection" in text

            eventually(said)
            assert lever.page("/livez")[0] == 200
            assert lever.stop() == 0

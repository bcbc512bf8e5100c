"""Processes that hang are replaced, those that are busy are not, and a stop does not wait for a compiler."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import grpc

from service.pb.lever.v1 import personalization_pb2 as pb
from service.process.child import Orders
from service.server.supervisor import Child, Children
from tests.rpc.standin import LOCAL
from tests.rpc.test_tree import EXPERIMENT, Tree, answered, children, eventually, until


def test_a_stopped_worker_is_replaced_and_so_is_a_stopped_side_port(tmp_path: Path) -> None:
    path = tmp_path / "hero.yaml"
    path.write_text(EXPERIMENT)
    tree = Tree(tmp_path, "--experiments", str(path), LEVER_WATCHDOG_S="5")
    try:
        tree.await_ready()
        (worker,), (http,) = tree.family("service.server.worker"), tree.family("operator_port")
        for pid in (worker, http):
            os.kill(pid, signal.SIGSTOP)
        for word, old in (("service.server.worker", worker), ("operator_port", http)):
            eventually(lambda word=word, old=old: tree.family(word) not in ([], [old]))  # type: ignore[misc]
        with grpc.insecure_channel(tree.grpc, options=LOCAL) as channel:
            made = until(lambda: answered(lambda: tree.select(channel)))
            assert tree.reward(channel, made.decision_id) == pb.OUTCOME_APPLIED
        eventually(lambda: tree.page("/readyz")[0] == 200)
        assert tree.errors.read_text().count("does not answer and is killed") == 2
        assert tree.stop() == 0
    finally:
        tree.close()


def test_silence_is_measured_from_the_last_word_and_longer_before_the_first() -> None:
    family = Children(patience_s=0.5)
    talks = (
        "import sys\nfor line in sys.stdin: pass\nimport time\nwhile True: print('alive', flush=True); time.sleep(0.05)"
    )
    mute = "import sys\nfor line in sys.stdin: pass\nimport time; time.sleep(60)"
    stops = talks.replace(
        "while True", "import os, signal\nprint('alive', flush=True); os.kill(0, signal.SIGSTOP)\nwhile True"
    )
    for name, code in (("talks", talks), ("mute", mute), ("stops", stops)):
        family.add(Child(["python3", "-c", code], Orders(name, os.getpid(), {}, "", "")))
    first = {child.name: child.process for child in family.children}
    try:
        stopped = first["stops"]
        assert stopped is not None
        while stopped.poll() is None:
            family.tend(0.05)
        assert stopped.returncode == -signal.SIGKILL
        assert {child.name for child in family.children if child.process is first[child.name]} == {"talks", "mute"}
        begun = time.monotonic()
        silent = first["mute"]
        assert silent is not None
        while silent.poll() is None:
            family.tend(0.05)
            assert time.monotonic() - begun < 60
        assert silent.returncode == -signal.SIGKILL
        assert first["talks"] is not None
        assert first["talks"].poll() is None
    finally:
        family.end(list(family.children), 0.1)


def test_a_stop_does_not_wait_for_a_compiler(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "--web-port", "0", LEVER_CACHE=str(tmp_path / "cache"), NUMBA_CACHE_DIR="")
    try:
        # It compiles from its first kernel's file on; what it would say then, it never says.
        eventually(lambda: any((tmp_path / "cache").rglob("*.nbi")))
        family = list(children(tree.process.pid))
        assert tree.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in family)
        assert "ready" not in tree.errors.read_text().replace("ready again", "")
        assert "killed" not in tree.errors.read_text()
    finally:
        tree.close()

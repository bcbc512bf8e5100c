"""Processes that hang are replaced, those that are busy are not, and a stop does not wait for a compiler."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import grpc

from loadtest.rig.processes import alive
from service.pb.lever.v1 import personalization_pb2 as pb
from service.process.child import Orders
from service.server.supervisor import Child, Children
from tests.rig.lever import HERO, LOCAL, Lever
from tests.rig.waiting import answered, eventually


def test_a_stopped_worker_is_replaced_and_so_is_a_stopped_side_port(tmp_path: Path) -> None:
    path = tmp_path / "hero.yaml"
    path.write_text(HERO)
    with Lever(tmp_path / "site", "--experiments", str(path), LEVER_WATCHDOG_S="5") as lever:
        old = [*lever.workers(), *lever.children("operator_worker")]
        assert len(old) == 2
        for pid in old:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: lever.said().count("does not answer and is killed") == 2)
        eventually(lambda: len({*lever.workers(), *lever.children("operator_worker")} - set(old)) == 2)
        with grpc.insecure_channel(lever.address, options=LOCAL) as channel:
            made = eventually(lambda: answered(lambda: lever.select(channel)))
            assert lever.reward(channel, made.decision_id) == pb.OUTCOME_APPLIED
        eventually(lambda: lever.page("/readyz")[0] == 200)
        assert lever.stop() == 0


def test_silence_is_measured_from_the_last_word_and_longer_before_the_first() -> None:
    family = Children(patience_s=0.5)
    talks = "import sys\nsys.stdin.readline()\nimport time\nwhile True: print('alive', flush=True); time.sleep(0.05)"
    mute = "import sys\nsys.stdin.readline()\nimport time; time.sleep(60)"
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


def test_a_child_is_current_once_it_says_so_after_it_was_asked() -> None:
    """One that ends meanwhile reads the store as it starts again."""
    family = Children()
    reads = "import sys\nsys.stdin.readline(); print('ready', flush=True)\nsys.stdin.readline(); print('current', flush=True)\n"
    ends = "import sys\nsys.stdin.readline(); print('ready', flush=True)\nsys.stdin.readline()"
    for name, code in (("reads", reads + "sys.stdin.readline()"), ("ends", ends)):
        family.add(Child(["python3", "-c", code], Orders(name, os.getpid(), {}, "", "")))
    try:
        while not all(child.ready for child in family.children):
            family.tend(0.05)
        assert not any(child.current for child in family.children)
        for child in family.children:
            child.ask()
        assert not any(child.current for child in family.children)
        while not all(child.current for child in family.children):
            family.tend(0.05)
    finally:
        family.end(list(family.children), 0.1)


def test_a_stop_does_not_wait_for_a_compiler(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = Lever(tmp_path / "site", "--web-port", "0", LEVER_CACHE=str(cache), NUMBA_CACHE_DIR="")
    with made.starting() as lever:
        # It compiles from its first kernel's file on; what it would say then, it never says.
        eventually(lambda: any(cache.rglob("*.nbi")))
        family, begun = lever.children(), time.monotonic()
        assert lever.stop() == 0
        assert time.monotonic() - begun < 15, "a compiler is not waited for; alone on a machine it is a second"
        assert not any(alive(pid) for pid in family)
        assert '"ready"' not in lever.said()
        assert "killed" not in lever.said()
        assert '"level": "error"' not in lever.said()

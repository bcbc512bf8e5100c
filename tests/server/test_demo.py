"""`lever demo`: it opens, somebody comes, and Ctrl-C ends all of it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from loadtest.rig.processes import alive, children
from loadtest.rig.server import channel
from service.demo.world import WORLDS
from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from tests.rig.waiting import eventually

OPEN = re.compile(r"The shop is open: http://(\S+)/ shows it.*?--server (\S+)", re.DOTALL)


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "service", "demo", "--days", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def said(process: subprocess.Popen[str], last: str) -> str:
    """What it says up to a line that begins so."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(last):
            return "".join(lines)
    raise AssertionError("".join(lines))


def trials(stub: ExperimentServiceStub, name: str) -> int:
    totals = stub.GetReport(epb.GetReportRequest(name=name), timeout=30).totals
    return sum(total.trials for total in totals)


def grown(stub: ExperimentServiceStub, before: Mapping[str, int]) -> bool:
    return all(trials(stub, name) > count for name, count in before.items())


def test_it_opens_and_ends_and_goes_on_with_what_was_kept(tmp_path: Path) -> None:
    uids, counted = [], 0
    for ending in (signal.SIGINT, signal.SIGTERM):
        with demo("--data-dir", str(tmp_path)) as process:
            found = OPEN.search(said(process, "Ctrl-C"))
            assert found is not None
            family = children(process.pid)
            assert family
            with channel(found[2]) as link:
                stub = ExperimentServiceStub(link)
                listed = stub.ListExperiments(epb.ListExperimentsRequest(), timeout=30).experiments
                uids.append({(one.name, one.uid) for one in listed})
                before = {world.name: trials(stub, world.name) for world in WORLDS}
                assert all(count > 1000 for count in before.values())
                assert sum(before.values()) > counted
                eventually(partial(grown, stub, before))
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://{found[1]}/", timeout=20
            ) as page:
                assert page.status == 200
            process.send_signal(ending)
            assert process.wait(60) == 0
            assert said(process, "The shop is closed.")
            assert not [pid for pid in family if alive(pid)]
            counted = sum(before.values())
    assert uids[0] == uids[1]

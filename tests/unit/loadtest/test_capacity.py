"""docs/capacity.md says what was measured."""

from __future__ import annotations

import json
import re
from statistics import fmean
from typing import Any

from service.experiment.state_bound import state_bytes
from tests.rig.programs import ROOT

TEXT = (ROOT / "docs" / "capacity.md").read_text()


def measured(name: str) -> Any:
    return json.loads((ROOT / "docs" / "numbers" / f"{name}.json").read_text())


def test_costs_of_the_store_are_those_of_its_file() -> None:
    one, spread = measured("store")["one"], measured("store")["cluster"]
    trials, rewards = one["trial"].values(), one["reward"].values()
    for row in (
        " / ".join(f"{each['cpu_us']:.1f}" for each in trials)
        + " us; "
        + " / ".join(f"{each['memory']:.0f}" for each in trials),
        f"{fmean(each['cpu_us'] for each in rewards):.0f} us; "
        + " / ".join(f"{each['memory']:.0f}" for each in rewards),
        f"{one['poll']['cpu_us'] / 1000:.1f} us; {spread['poll']['cpu_us'] / 1000:.1f} us on a cluster",
    ):
        assert row in TEXT
    assert all(10 <= round(each["cpu_us"]) <= 15 for each in spread["reward"].values())
    copied = measured("store")["copied"]
    assert f"{copied['waited_ms']:.2f} ms for {copied['call_ms']:.2f}" in TEXT


def test_costs_of_a_server_are_those_of_its_files() -> None:
    rpc, scale = measured("rpc"), measured("scale")
    first, last = scale["experiments"][0], scale["experiments"][-1]
    each = (last["rss_mb"] - first["rss_mb"]) / (last["size"] - 1)
    for words in (
        f"{rpc['select_cpu_us']:.0f} us of CPU", f"| {rpc['batch_cpu_us_linucb']:.1f} us |", f"| {rpc['reward_cpu_us']:.0f} us, streamed",
        f"{each:.2f} MB, and its state", f"{first['rss_mb']:.0f} MB", f"{rpc['reward_floor_rps'] / 1000:.0f},000 driven bare",
    ):  # fmt: skip
        assert words in TEXT


def test_bounds_of_the_state_are_those_that_experiments_are_held_to() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 5
    for arms, segments, columns, metrics, megabytes in rows:
        need = state_bytes(int(arms), int(segments), int(columns) + 1, int(metrics)) / 2**20
        assert f"{need:.1f}" == megabytes


def test_what_sharing_costs_is_what_was_measured() -> None:
    found = measured("sharing")["found"]
    assert all(one["same_bits"] for one in found)
    for one in found:
        shape = f"| {one['arms']} arms, {one['columns'] or 'no'} columns | {one['servers']} | {one['rows_s']:,} |"
        costs = " | ".join(f"{one[name]:.0f} ms" for name in ("adds_up_ms", "adds_for_all_ms", "loads_ms"))
        age = f"{one['age_loaded_ms']} ms, {one['age_loaded_max_ms']} at the most"
        assert f"{shape} {costs} | {one['cost_of_all_adding']:.2f} | {age} |" in TEXT

"""The log as a table: what was sent and earned, the same from the store and over gRPC with a key, as CSV and as Parquet."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from typer.testing import CliRunner

from service.analysis.log_table import COLUMNS, KINDS
from service.cli.main import app
from service.cli.tables.table_file import table_file
from service.errors import InvalidError
from service.experiment.features.column import Value
from service.management.log_rows import records
from service.management.offline import Apart, Local
from service.pb.lever.v1 import experiment_pb2 as pb
from service.pb.lever.v1 import personalization_pb2 as choices
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.security.api_keys import Key, new_secret
from service.store.embedded import Embedded
from tests.rig.credentials import bearer, write_keys
from tests.rig.lever import LOCAL, Lever
from tests.rig.programs import ROOT
from tests.rig.stage import Stage, choose, reward, stage
from tests.rig.waiting import eventually

OFFER = """
experiment: offer
arms: [{id: red}, {id: green}]
default_arm: red
features:
  country: {type: category, values: [de, fr]}
  visits: {type: number, min: 0, max: 50}
  member: {type: flag}
metrics: [{id: sale, min: 0, max: 100, unit: 0.01, window: 1h}]
"""
CONTEXTS: list[dict[str, Value]] = [
    {"country": "de", "visits": 7.0, "member": True}, {"country": "xx"}, {"visits": 99.0, "member": False}, {},
]  # fmt: skip
SEEN: list[dict[str, Value]] = [
    {"country": "de", "visits": 7.0, "member": True}, {"country": "(unknown)"}, {"visits": 50.0, "member": False}, {},
]  # fmt: skip


@pytest.fixture(scope="module")
def world(valkey: Embedded) -> Iterator[Stage]:
    with stage(valkey.url) as built:
        server = built.service()
        server.experiments.put(OFFER, None)
        for i, context in enumerate(CONTEXTS):
            decision = choose(server, "offer", f"subject {i}", context=context, deferred=i == 1)
            reward(server, decision, value=12.34)
            built.settle()
        # A feature is dropped, an arm is added: what was logged stays readable.
        server.experiments.put(
            OFFER.replace("  member: {type: flag}\n", "").replace("{id: green}", "{id: green}, {id: blue}"), None
        )
        choose(server, "offer", "late", context={"country": "fr"})
        built.settle()
        yield built


def rows(frames: Iterator[bytes]) -> list[Mapping[str, Value]]:
    return list(records(pb.ReadLogResponse.FromString(frame) for frame in frames))


def test_the_users_own_values_are_in_it(world: Stage) -> None:
    found = rows(Local(world.store()).log("offer", ""))
    context = [{k.removeprefix("context."): v for k, v in row.items() if k.startswith("context.")} for row in found]
    trials = [own for own, row in zip(context, found, strict=True) if row["kind"] == "trial" or row["exposes"]]
    assert trials == [*SEEN, {"country": "fr"}]
    assert [row["new_total"] for row in found if row["kind"] == "reward"] == [12.34] * 4
    assert found[0]["x.country=de"] == 1.0


def test_a_child_process_says_the_same_and_goes_on_where_it_was(world: Stage) -> None:
    local, apart = Local(world.store()), Apart(world.url, world.prefix)
    whole = rows(local.log("offer", ""))
    assert rows(apart.log("offer", "")) == whole
    for at in sorted({str(row["entry"]) for row in whole}):
        rest = rows(local.log("offer", at))
        assert rest == whole[len(whole) - len(rest) :]
        assert all(row["entry"] != at for row in rest)
    assert whole[-1]["entry"] != at or not rest
    with pytest.raises(InvalidError, match="is not the id of an entry"):
        list(apart.log("offer", "soon"))


def test_the_table_in_the_documentation_is_that_of_the_code() -> None:
    text = (ROOT / "docs/log.md").read_text()
    documented = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| \S.*\|$", text, re.MULTILINE)
    assert documented == list(COLUMNS)
    (kinds,) = re.findall(r"^\| `kind` \| text \| (.*) \|$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", kinds)) == {*KINDS, "history"}
    fields = [field.name for field in pb.LogRow.DESCRIPTOR.fields]
    assert fields == [*(name for name, _ in COLUMNS), "context", "x"]
    assert all(f"`{name}.<" in text for name in ("context", "x"))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=8), "integer": st.integers(-(2**63), 2**63 - 1),
    "unsigned": st.integers(0, 2**64 - 1), "number": st.floats(allow_nan=False), "flag": st.booleans(),
}  # fmt: skip


@given(st.lists(st.fixed_dictionaries({}, optional=VALUES), max_size=6))
@settings(max_examples=60, deadline=None)
def test_whatever_a_row_has_is_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    columns = [(kind, kind) for kind in VALUES]
    for name in ("t.parquet", "t.csv"):
        with table_file(folder / name, columns) as write:
            assert write({**record, "strange": 1} for record in made) == len(made)
    read = parquet.read_table(folder / "t.parquet")
    assert read.to_pylist() == [{kind: record.get(kind) for kind in VALUES} for record in made]
    assert str(read.schema.field("unsigned").type) == "uint64"
    with (folder / "t.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert lines == [{kind: str(record.get(kind, "")) for kind in VALUES} for record in made]


def test_the_command_asks_a_server_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, website = new_secret(), new_secret()
    scopes = {reader: frozenset({"read"}), website: frozenset({"decide", "reward"})}
    keys = write_keys(tmp_path / "keys.yaml", *(Key.of(k, f"k{i}", s) for i, (k, s) in enumerate(scopes.items())))
    (tmp_path / "offer.yaml").write_text(OFFER)
    monkeypatch.chdir(tmp_path)
    with Lever(tmp_path, "--experiments", str(tmp_path / "offer.yaml"), "--keys-file", str(keys)) as lever:
        with grpc.insecure_channel(lever.address, options=LOCAL) as channel:
            stub = PersonalizationServiceStub(channel)
            ask = choices.SelectRequest(
                experiment="offer", subject="ann", context={"visits": choices.FeatureValue(number=3)}
            )
            made = stub.Select(ask, metadata=bearer(website), timeout=20)
            stub.Reward(
                choices.RewardRequest(decision_id=made.decision_id, value=5), metadata=bearer(website), timeout=20
            )

        def run(out: str, key: str = reader) -> Any:
            command = ["log", "offer", "--out", out, "--server", lever.address]
            return CliRunner().invoke(app, command, env={"LEVER_KEY": key})

        def written() -> list[dict[str, str]]:
            done = run("log.csv")
            assert done.exit_code == 0, done.output
            with Path("log.csv").open(newline="") as file:
                return list(csv.DictReader(file))

        eventually(lambda: sorted(row["kind"] for row in written()) == ["reward", "trial"])
        assert [row["context.visits"] for row in written()] == ["3.0", "3.0"]
        done = run("log.parquet")
        assert (done.exit_code, done.output) == (0, "2 rows in log.parquet\n")
        table = parquet.read_table("log.parquet").to_pylist()
        assert [str(row["unit"]) for row in table] == [row["unit"] for row in written()]
        (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/log.md").read_text(), re.MULTILINE | re.DOTALL)
        ran = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=True)
        assert ran.stdout == f"{{'{made.arm}': 5.0}}\n"
        refused, unknown = run("no.csv", website), run("no.csv", "")
        assert "PERMISSION_DENIED" in refused.stderr
        assert "UNAUTHENTICATED" in unknown.stderr
        assert (refused.exit_code, unknown.exit_code, Path("no.csv").exists()) == (1, 1, False)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        bare = run("no.parquet")
        assert (bare.exit_code, bare.stderr) == (
            1,
            "error: Parquet files need pyarrow: pip install pyarrow, or write a .csv\n",
        )

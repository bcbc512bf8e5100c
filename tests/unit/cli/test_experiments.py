"""The commands apply, list, show and delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.pb.lever.v1 import experiment_pb2 as epb
from tests.rig.canned import Canned, bad_request, experiment, lever

# --- apply, list, show, delete


def test_apply_says_what_became_of_each_file(canned: Canned, tmp_path: Path) -> None:
    for name, text in (("b.yml", "b"), ("a.yaml", "a"), ("c.json", '"c"'), ("notes.txt", "d")):
        (tmp_path / name).write_text(text)
    became = {"a": (1, True), "b": (4, True), '"c"': (2, False)}

    def put(request: Any) -> epb.PutExperimentResponse:
        version, changed = became[request.config]
        stands = experiment(name=request.config.strip('"'), version=version)
        return epb.PutExperimentResponse(experiment=stands, changed=changed)

    canned.answers["put"] = put
    result = lever("apply", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout == "a  created  version 1\nb  changed  version 4\nc  unchanged  version 2\n"
    assert not any(request.HasField("expected_version") for request in canned.asked)


def test_apply_names_file_and_line_and_goes_on(canned: Canned, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text("bad")
    good.write_text("good")

    def put(request: Any) -> epb.PutExperimentResponse:
        if request.config == "bad":
            raise bad_request(("arms[1].id", "is used twice"), ("metrics", "is missing"), at0="12")
        return epb.PutExperimentResponse(experiment=experiment(), changed=True)

    canned.answers["put"] = put
    result = lever("apply", bad, good)
    assert result.exit_code == 1
    assert result.stdout == "hero  created  version 1\n"
    assert result.stderr.splitlines() == [
        f"{bad}:12: arms[1].id: is used twice",
        f"{bad}: metrics: is missing",
        "(INVALID_ARGUMENT, INVALID)",
    ]


def test_apply_takes_an_experiment_from_one_file_only(canned: Canned, tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("experiment: hero\n")
    result = lever("apply", tmp_path)
    assert (result.exit_code, canned.asked) == (1, [])
    said = f'{tmp_path}/b.yaml: experiment: "hero" is in {tmp_path}/a.yaml already'
    assert result.stderr.splitlines() == [said, "nothing was applied"]


def test_warm_start_judges_and_takes_back(canned: Canned, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("arm,reward\n")
    canned.answers["warm_start"] = epb.WarmStartResponse(applied=3, repeated=1, rewarded=2)
    said = {
        how: lever("warm-start", "hero", file, *how.split()).stdout.splitlines() for how in ("", "--dry-run", "--undo")
    }
    assert said == {
        "": ["3 rows of history count now; 2 of the file have a reward", "1 rows of this file counted already"],
        "--dry-run": [
            "3 rows of history would count: nothing was written; 2 of the file have a reward",
            "1 rows of this file counted already",
        ],
        "--undo": [
            "3 rows of history no longer count; 2 of the file have a reward",
            "1 rows of this file did not count",
        ],
    }
    assert [(one.dry_run, one.undo) for one in canned.asked] == [(False, False), (True, False), (False, True)]
    assert lever("warm-start", "hero", file, "--undo", "--dry-run").exit_code == 2


def test_apply_warns_of_settings_without_effect(canned: Canned, tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("old")
    stands = experiment(warnings=["algorithm.alpha: no longer exists; evidence says it"])
    canned.answers["put"] = lambda _: epb.PutExperimentResponse(experiment=stands, changed=True)
    result = lever("apply", file)
    assert result.exit_code == 0
    assert result.stdout == "hero  created  version 1\n"
    assert result.stderr == f"{file}: warning: algorithm.alpha: no longer exists; evidence says it\n"


def test_apply_refuses_what_is_not_there(tmp_path: Path) -> None:
    assert lever("apply", tmp_path / "none.yaml").exit_code == 2
    empty = lever("apply", tmp_path)
    assert empty.exit_code == 1
    assert "no .yaml, .yml, .json files in" in empty.stderr


def test_apply_reports_a_file_that_is_not_text(canned: Canned, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: \xff")
    result = lever("apply", tmp_path / "x.yaml")
    assert result.exit_code == 1
    assert "x.yaml:2: file: is not UTF-8: byte 0xff at offset 8; save it as UTF-8" in result.stderr
    assert not canned.asked


def test_list(canned: Canned) -> None:
    canned.answers["list"] = epb.ListExperimentsResponse(
        experiments=[experiment(), experiment(name="offer", version=7)]
    )
    lines = lever("list").stdout.splitlines()
    assert lines[0].split() == ["experiment", "state", "algorithm", "arms", "version", "applied"]
    assert lines[2].split() == ["offer", "active", "linucb", "2", "7", "2023-11-14", "22:13:20", "UTC"]
    as_json = json.loads(lever("list", "--json").stdout)
    assert [one["name"] for one in as_json] == ["hero", "offer"]
    assert as_json[1]["version"] == 7  # not "7", as protobuf's own JSON has it
    canned.answers["list"] = epb.ListExperimentsResponse()
    assert "No experiments yet" in lever("list").stdout
    assert json.loads(lever("list", "--json").stdout) == []


def test_show_prints_what_can_be_applied_again(canned: Canned) -> None:
    canned.answers["get"] = epb.GetExperimentResponse(experiment=experiment(version=3))
    shown = lever("show", "hero")
    assert shown.stdout == "experiment: hero\n"
    assert shown.stderr == "# hero: active, linucb, version 3, applied 2023-11-14 22:13:20 UTC\n"
    assert json.loads(lever("show", "hero", "--json").stdout)["arms"] == ["calm", "bold"]
    assert [request.name for request in canned.asked] == ["hero", "hero"]


def test_delete_asks_first(canned: Canned) -> None:
    canned.answers["delete"] = epb.DeleteExperimentResponse()
    assert lever("delete", "hero", stdin="n\n").exit_code == 1
    assert lever("delete", "hero", stdin="").exit_code == 1
    assert not canned.asked
    assert lever("delete", "hero", stdin="y\n").exit_code == 0
    assert lever("delete", "hero", "--yes", "--version", "3").stdout == "hero  deleted\n"
    assert [r.expected_version if r.HasField("expected_version") else None for r in canned.asked] == [None, 3]


def test_history_goes_out_with_what_its_owner_says(canned: Canned, tmp_path: Path) -> None:
    canned.answers["warm_start"] = epb.WarmStartResponse(applied=2, rewarded=1)
    file = tmp_path / "h.csv"
    file.write_bytes("Arm;Käufe\r\nred;1\r\n".encode("cp1252"))
    options = ["--columns", "arm=Arm, reward=Käufe", "--leave-out", "id,x_*", "--decimal", ",", "--delimiter", ";"]
    done = lever("warm-start", "hero", file, *options, "--encoding", "cp1252")
    assert done.exit_code == 0, done.output
    (asked,) = canned.asked
    assert asked.csv == "Arm;Käufe\r\nred;1\r\n"
    assert dict(asked.format.columns) == {"arm": "Arm", "reward": "Käufe"}
    assert (asked.format.delimiter, asked.format.decimal, list(asked.format.leave_out)) == (";", ",", ["id", "x_*"])
    long = tmp_path / "long.csv"
    long.write_text("arm,reward\n" + "red,1\n" * (5 << 20))
    assert "long.csv: has more than 30 MB" in lever("warm-start", "hero", long).stderr
    refused = lever("warm-start", "hero", file)
    assert (refused.exit_code, "h.csv:1: file: is not UTF-8" in refused.stderr) == (1, True)

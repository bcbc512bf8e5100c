"""Logged decisions as data scientists have them: gaps, odd numbers, and the columns of the Open Bandit Data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.analysis.trials_from_csv import trials_of
from service.cli.main import app
from service.errors import InvalidError
from service.process.kernel_cache import cache_dir
from service.text.csv_format import Format
from tests.rig.programs import ROOT

HEAD = "arm,propensity,reward"


def wrong(text: str, form: Format | None = None) -> list[str]:
    with pytest.raises(InvalidError) as caught:
        trials_of(text, None, None, form)
    return [str(violation) for violation in caught.value.violations]


def with_column(cells: list[str]) -> str:
    return "\n".join([f"{HEAD},visits", *(f'x{i % 2},0.5,1,"{cell}"' for i, cell in enumerate(cells))])


def test_a_row_without_a_unit_is_its_own() -> None:
    rows = ["a", "", "a", "", "NaN", "NA", "b"]
    trials = trials_of("unit," + HEAD + "\n" + "\n".join(f"{unit},x,0.5,{i}" for i, unit in enumerate(rows)))
    assert np.rint(trials.total * trials.unit).tolist() == [0, 1, 3, 4, 5, 6]
    assert trials.left_out == {"later visit of a unit": 1}


GAPS = st.sampled_from(["", "NA", "NaN", "nan", "null", "None", "N/A", "#N/A"])


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: repr(round(value, 6))) | GAPS, min_size=2, max_size=12))
@settings(max_examples=200, deadline=None)
def test_gaps_among_numbers_are_missing_and_make_no_categories(cells: list[str]) -> None:
    values = [float(cell) for cell in cells if cell[-1:].isdigit()]
    if not values:
        return
    x = trials_of(with_column(cells)).x
    low, high = min(values), max(values)
    columns = []
    if high > low:
        q = [round((float(c) - (low + high) / 2) / ((high - low) / 2) * 4096) if c[-1:].isdigit() else 0 for c in cells]
        columns.append(q)
    if len(values) < len(cells):
        columns.append([0 if cell[-1:].isdigit() else 4096 for cell in cells])
    assert x.shape[1] == len(columns)
    assert np.abs(x.T.astype(int) - np.array(columns).reshape(len(columns), len(cells))).max(initial=0) <= 1


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1", "2", "many", "3", "more"], 'row 4, visits: "many" (and 1 rows more) is no number, as most cells here are'),
        (["1", "inf", "2"], 'row 3, visits: "inf" is no number'),
        (["1", "1e300", "2"], 'row 3, visits: "1e300" is no number'),
        (["1,234.50", "2,000.10", "3,100.00"], 'row 2, visits: "1,234.50" (and 2 rows more) is no number'),
        (["12 %", "13 %", "8 %"], 'row 2, visits: "12 %"'),
        (["1,234", "2,500", "3"], 'row 2, visits: "1,234" may be 1.234 or 1234'),
    ],
)  # fmt: skip
def test_what_looks_like_a_number_is_no_category_in_silence(cells: list[str], said: str) -> None:
    found = wrong(with_column(cells))
    assert found[0].startswith(said), found
    trials = trials_of(with_column(cells), None, None, Format(categories=("visits",)))
    assert set(np.unique(trials.x).tolist()) <= {0, 4096}
    assert trials_of(with_column(cells), None, None, Format(leave_out=("visits",))).x.shape[1] == 0


def test_names_stay_names() -> None:
    # NA is Namibia; a few numbers among names are names.
    trials = trials_of(with_column(["NA", "DE", "", "7", "FR", "18-24"]))
    assert trials.x.shape[1] == 6
    assert trials.x.sum(axis=1).tolist() == [4096] * 6


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["x,1e-300,1"], "row 2, propensity: 1e-300 is so small that this row would outweigh all others"),
        (["x,0.5,1", "", "x,5e-324,1"], "row 4, propensity: 4.94066e-324 is so small"),
        (["x,0.5,1e308"], "row 2, reward: must be between -1e+12 and 1e+12, not 1e+308"),
        (["x,0.5,1e400"], 'row 2, reward: must be a finite number, not "1e400"'),
        (["x,0.5,1e12", "y,0.5,1"], "row 3, reward: 1 is lost beside the largest reward of the file, 1e+12"),
    ],
)
def test_what_would_overflow_is_told_by_row(rows: list[str], said: str) -> None:
    assert wrong("\n".join([HEAD, *rows]))[0].startswith(said)


@given(st.lists(st.tuples(st.floats(1e-12, 1), st.floats(-1e12, 1e12)), min_size=1, max_size=10))
@settings(max_examples=200, deadline=None)
def test_what_is_taken_is_finite(rows: list[tuple[float, float]]) -> None:
    text = "\n".join([HEAD, *(f"x,{propensity!r},{reward!r}" for propensity, reward in rows)])
    given = np.array([reward for _, reward in rows])
    try:
        trials = trials_of(text)
    except InvalidError:
        assert all(said.startswith("row ") and "is lost beside the largest" in said for said in wrong(text))
        return
    assert np.abs(trials.total * trials.unit - given).max() <= np.abs(given).max() * 2.0**-27
    assert np.isfinite(1 / trials.propensity).all()


def bandit_data(rows: int, items: int = 34) -> str:
    """A file with the header and shape of the Open Bandit Data (random, men), of made-up visits."""
    random = np.random.default_rng(3)
    names = ["", "timestamp", "item_id", "position", "click", "propensity_score"]
    names += [f"user_feature_{i}" for i in range(4)] + [f"user-item_affinity_{i}" for i in range(items)]
    lines = [",".join(names)]
    for i in range(rows):
        item = int(random.integers(items))
        cells = [
            str(i),
            f"2019-11-24 00:{i // 60 % 60:02}:{i % 60:02}.{int(random.integers(10**6)):06}+00:00",
            str(item),
        ]
        cells += [str(random.integers(1, 4)), str(int(random.random() < 0.02 + 0.02 * (item == 3))), str(1 / items)]
        cells += [f"{hash_of(k, int(random.integers(n)))}" for k, n in enumerate((3, 5, 9, 8))]
        lines.append(",".join([*cells, *(str(float(v)) for v in random.poisson(0.3, items))]))
    return "\n".join(lines) + "\n"


def hash_of(feature: int, value: int) -> str:
    return f"{(feature * 100 + value) * 0x9E3779B97F4A7C15 % 2**64:032x}"


COLUMNS = "arm=item_id,reward=click,propensity=propensity_score,decision_time=timestamp"


def test_the_open_bandit_file_goes_in_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "men.csv").write_text(bandit_data(3000))
    (tmp_path / "p.yaml").write_text("algorithm: uniform\n")
    command = ["evaluate", "--csv", str(tmp_path / "men.csv"), "--policy", str(tmp_path / "p.yaml")]
    done = CliRunner().invoke(app, [*command, "--columns", COLUMNS])
    assert done.exit_code == 0, done.output
    assert "uniform: 3,000 trials" in done.output
    named = CliRunner().invoke(app, command)
    assert named.exit_code == 1
    assert "column propensity: is missing; the file has timestamp, item_id" in named.output
    assert "and 31 more; say which it is: --columns propensity=propensity_score" in named.output
    timed = CliRunner().invoke(app, [*command, "--columns", COLUMNS.rpartition(",")[0]])
    assert "--columns decision_time=timestamp takes it as the time" in timed.output
    wide = tmp_path / "all.csv"
    wide.write_text(bandit_data(1200, 80))
    done = CliRunner().invoke(app, [*command[:2], str(wide), *command[3:], "--columns", COLUMNS])
    assert "at most 64: --leave-out leaves columns out" in done.output
    done = CliRunner().invoke(
        app, [*command[:2], str(wide), *command[3:], "--columns", COLUMNS, "--leave-out", "user-item_*", "--json"]
    )
    assert done.exit_code == 0, done.output


def test_an_encoding_is_told_by_its_owner(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("algorithm: uniform\n")
    file = tmp_path / "d.csv"
    lines = [f"{('grün', 'blau')[i % 2]};0,5;{i % 3 == 0:d}" for i in range(400)]
    file.write_bytes("\r\n".join(["arm;propensity;reward", *lines]).encode("cp1252"))
    command = ["evaluate", "--csv", str(file), "--policy", str(tmp_path / "p.yaml")]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "d.csv:2: file: is not UTF-8: byte 0xfc at offset 25; say which encoding it has" in refused.output
    done = CliRunner().invoke(app, [*command, "--encoding", "cp1252"])
    assert done.exit_code == 0, done.output
    assert "uniform: 400 trials" in done.output
    assert "klingon" in CliRunner().invoke(app, [*command, "--encoding", "klingon"]).output
    assert CliRunner().invoke(app, [*command, "--columns", "arm"]).exit_code == 2


def test_the_command_finds_its_kernels_where_servers_have_theirs(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("algorithm: uniform\n")
    rows = [f"x{i % 2},0.5,{i % 3 == 0:d}" for i in range(400)]
    (tmp_path / "d.csv").write_text("\n".join([HEAD, *rows]))
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= {"LEVER_CACHE": str(cache_dir()), "NUMBA_DEBUG_CACHE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "service", "evaluate", "--csv", "d.csv", "--policy", "p.yaml"]

    def told() -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    told()  # fills the cache with what other tests have not put there
    again = told()
    assert "data saved to" not in again
    assert f"data loaded from '{os.environ['NUMBA_CACHE_DIR']}" in again

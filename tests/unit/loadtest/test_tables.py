"""Documents say what was measured, and `python -m loadtest tables` makes them say it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from loadtest.tables.blocks import BLOCKS
from loadtest.tables.command import MARKED, ROOT, main
from service.experiment.state_bound import state_bytes


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Another tree with the same documents and figures."""
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.png", "console"))
    return tmp_path


def marks() -> dict[str, list[str]]:
    """What each document takes from docs/numbers."""
    paths = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    return {path.name: [found[1] for found in MARKED.findall(path.read_text())] for path in paths}


def test_the_documents_have_the_figures_of_docs_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    failed = main(["--check"])
    assert not failed, capsys.readouterr().out


def test_another_figure_is_noticed_and_written(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rpc = copy / "docs" / "numbers" / "rpc.json"
    told_of = {"cpu_us_linucb": 77.0, "cpu_ratio_linucb": 0.61, "echo_cpu_us": 126.0}
    rpc.write_text(json.dumps(json.loads(rpc.read_text()) | told_of))
    arguments = ["--root", str(copy)]
    assert main([*arguments, "--check"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["README.md", "docs/capacity.md", "docs/performance.md"]
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    assert "| 0.61 with rewards and flushes, 77 us beside 126 | met |" in (copy / "docs/performance.md").read_text()
    assert "-->77<!-- end --> us of CPU" in (copy / "docs/capacity.md").read_text()


@pytest.mark.parametrize("name", ["no-block", "{rpc[no_figure]}", "{no_file[x]}", "{rpc[select_rps]:d}"])
def test_a_mark_of_what_is_not_there_is_told_and_nothing_is_written(
    name: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = copy / "docs" / "log.md"
    document.write_text(f"It is <!-- numbers: {name} -->3<!-- end -->.\n")
    assert main(["--root", str(copy)]) == 1
    assert "docs/log.md" in capsys.readouterr().out
    assert "-->3<!--" in document.read_text()


def test_every_block_is_in_a_document() -> None:
    assert set(BLOCKS) == {name for names in marks().values() for name in names if "{" not in name}


def test_no_figure_begins_a_line() -> None:
    """Markdown would take the rest of the line for HTML."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert not re.search(r"^<!-- numbers: \{", path.read_text(), re.MULTILINE), path.name


def test_bounds_of_the_state_are_those_that_experiments_are_held_to() -> None:
    text = (ROOT / "docs" / "capacity.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert len(rows) >= 5
    for arms, segments, columns, metrics, megabytes in rows:
        need = state_bytes(int(arms), int(segments), int(columns) + 1, int(metrics)) / 2**20
        assert f"{need:.1f}" == megabytes

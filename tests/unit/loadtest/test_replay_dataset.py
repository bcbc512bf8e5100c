"""Reading the logs, from a small zip made here."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from loadtest.replay import dataset
from loadtest.replay.dataset import FEATURES, INSIDE, DataError
from service.process.kernel_cache import cache_dir

COLUMNS = ("", "timestamp", "item_id", "position", "click", "propensity_score", *FEATURES[:4])


def table(rows: Sequence[tuple[object, ...]], header: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


def files() -> dict[str, str]:
    random = [(0, "t", 2, 3, 0, 1 / 3, "cc", "aa", "x", "q"), (1, "t", 0, 1, 1, 1 / 3, "bb", "aa", "y", "q")]
    bts = [(0, "t", 1, 2, 1, 0.9, "bb", "aa", "x", "q")]
    return {
        "random/men/men.csv": table(random, COLUMNS),
        "bts/men/men.csv": table(bts, COLUMNS),
        "random/men/item_context.csv": table([(0, 0), (1, 1), (2, 2)], ("", "item_id")),
    }


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "own.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files().items():
            archive.writestr(INSIDE + name, text)
    return path


def test_a_zip_is_read(wheel: Path) -> None:
    data = dataset.load("obd-men", wheel)
    assert data.items == 3
    assert data.item.tolist() == [2, 0, 1]
    assert data.click.tolist() == [0, 1, 1]
    assert data.uniform.tolist() == [True, True, False]
    assert data.propensity.tolist() == [1 / 3, 1 / 3, 0.9]
    assert [f.name for f in data.features] == list(FEATURES)
    assert data.features[0].values == ("bb", "cc")
    assert data.texts(0) == {
        "user_feature_0": "cc",
        "user_feature_1": "aa",
        "user_feature_2": "x",
        "user_feature_3": "q",
        "position": "3",
    }


def test_a_folder_is_the_same_as_a_zip(wheel: Path, tmp_path: Path) -> None:
    for root in (tmp_path / "plain", tmp_path / "unpacked" / INSIDE):
        for name, text in files().items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8", newline="")
    packed = dataset.load("obd-men", wheel)
    for folder in ("plain", "unpacked"):
        read = dataset.load("obd-men", tmp_path / folder)
        assert read.digest == packed.digest
        assert np.array_equal(read.context, packed.context)


@pytest.mark.parametrize("wrong", ["missing", "item", "column", "number"])
def test_broken_files_say_so(tmp_path: Path, wrong: str) -> None:
    made = files()
    if wrong == "missing":
        del made["bts/men/men.csv"]
    elif wrong == "item":
        made["random/men/item_context.csv"] = table([(0, 0)], ("", "item_id"))
    elif wrong == "column":
        made["bts/men/men.csv"] = made["bts/men/men.csv"].replace("item_id", "item")
    else:
        made["bts/men/men.csv"] = made["bts/men/men.csv"].replace("0.9", "much")
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    with pytest.raises(DataError, match="obd-men cannot be read"):
        dataset.load("obd-men", tmp_path)


def test_neither_zip_nor_folder(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        dataset.load("obd-men", tmp_path / "text")
    with pytest.raises(DataError, match="unknown dataset"):
        dataset.load("obd-kids", tmp_path)


def test_a_file_missing_in_the_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    with pytest.raises(DataError, match="cannot be read"):
        dataset.load("obd-women", tmp_path / "empty.whl")


def test_a_checked_wheel_in_the_cache_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / dataset.WHEEL).write_bytes(b"as published")
    monkeypatch.setattr(dataset, "SHA256", hashlib.sha256(b"as published").hexdigest())
    assert dataset.download(tmp_path) == tmp_path / dataset.WHEEL


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"LEVER_CACHE": "there", "XDG_CACHE_HOME": "xdg"}, Path("there")),
        ({"XDG_CACHE_HOME": "xdg"}, Path("xdg/lever")),
        ({}, Path.home() / ".cache" / "lever"),
    ],
)
def test_where_the_cache_is(env: dict[str, str], expected: Path) -> None:
    assert cache_dir(env) == expected

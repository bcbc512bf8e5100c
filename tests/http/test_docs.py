"""docs/http.md, word for word: its calls with curl, and its key."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.clients import golang
from tests.rig.programs import BIN, ROOT, program
from tests.rig.site import Site, site

BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/http.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The examples, as `make run` serves them."""
    texts = [file.read_text() for file in (ROOT / "deploy/examples").glob("*.yaml")]
    named = {re.findall(r"^experiment: (\S+)", text, re.MULTILINE)[0]: text for text in texts}
    with site(tmp_path_factory.mktemp("docs"), named) as made:
        yield made


def curl(lever: Site, block: str, *decisions: str) -> list[dict[str, object]]:
    """What its calls answer; decision ids stand for the dots."""
    program("curl")
    for decision in decisions:
        block = block.replace("…", decision, 1)
    assert "…" not in block
    done = subprocess.run(
        ["bash", "-ec", block.replace("localhost:8081", lever.web).replace("curl -s", "curl -s -w '\\n' --noproxy '*'")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def block(words: str) -> str:
    (found,) = (block for block in BLOCKS if words in block)
    return str(found)


def test_one_flag(lever: Site) -> None:
    (flag,) = curl(lever, block("evaluate/flags/homepage-hero"))
    assert flag["reason"] == "SPLIT"


def test_a_page_and_its_events(lever: Site) -> None:
    select, events = re.split(r"^(?=curl .*v1/events)", block("/v1/select "), flags=re.MULTILINE)
    (page,) = curl(lever, select)
    hero, offer = (made["decision_id"] for made in page["decisions"])  # type: ignore[attr-defined]
    (told,) = curl(lever, events, hero, offer, hero, offer)
    assert told["results"] == [
        {"outcome": "APPLIED"},
        {"outcome": "APPLIED"},
        {"outcome": "DUPLICATE"},
        {"outcome": "APPLIED"},
    ]


def test_many_subjects(lever: Site) -> None:
    (made,) = curl(lever, block("/v1/select-batch"))
    assert set(made) == {
        "decision_ids", "arms", "payloads", "propensities", "segments", "holdout", "reasons", "stale", "experiment_version",
    }  # fmt: skip
    assert len(made["decision_ids"]) == 3  # type: ignore[arg-type]


def test_a_public_key(tmp_path: Path) -> None:
    command = block("key new").replace("lever ", f"{BIN}/lever ", 1)
    done = subprocess.run(
        ["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("lever_")
    assert 'public: true, origins: ["https://www.example.com"]' in done.stderr


def test_go_in_a_module_of_ones_own(tmp_path: Path) -> None:
    go, shop = golang.toolchain(), tmp_path / "shop"
    shutil.copytree(golang.CLIENT, tmp_path / "lever/service/client/go")
    shop.mkdir()
    (shop / "go.mod").write_text("module example.com/shop\n")
    (shop / "main.go").write_text(
        'package main\n\nimport (\n"lever"\npb "lever/v1"\n)\n\n'
        "var _, _ = lever.New, pb.NewPersonalizationServiceClient\n\nfunc main() {}\n"
    )
    env = golang.environment() | {"PATH": f"{Path(go).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", block("go mod edit")], cwd=shop, env=env, check=True, timeout=200)
    golang.build(shop)

"""Image, compose file and systemd unit: linted by their own tools, and held against Lever's settings. About 10 s.

No container engine is here: the image is not built. What its entry point and health check do is done without it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.rig.server import STOP_SECONDS, free_ports
from service.process.settings import Settings, settings
from tests.rig.programs import BIN, DOCKER, DOCKERFILE, PREFIX, ROOT, image_variables, known
from tests.rig.waiting import eventually

COMPOSE = DOCKER / "compose.yaml"
UNIT = ROOT / "deploy" / "systemd" / "lever.service"
SCRATCH, DATA = "/tmp", "/data"  # noqa: S108  # the image's: all that it may write to
EXPOSURE = 2.0  # of systemd-analyze, from 0 (nothing allowed) to 10


def run(*command: str | Path) -> str:
    """What it said, once it has succeeded."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def compose() -> dict[str, Any]:
    """The file."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


def test_hadolint_finds_nothing() -> None:
    run(BIN / "hadolint", DOCKER / "Dockerfile")


def test_the_image_runs_as_nobody_on_a_read_only_root() -> None:
    assert re.findall(r"^USER (.*)", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^VOLUME (.*)", DOCKERFILE, re.MULTILINE) == [DATA]
    lever = compose()["services"]["lever"]
    assert lever["read_only"] is True
    assert lever["tmpfs"][0].startswith(f"{SCRATCH}:")
    written = [
        value
        for name, value in image_variables().items()
        if name in ("LEVER_DATA_DIR", "LEVER_CACHE", "NUMBA_CACHE_DIR")
    ]
    assert all(Path(path).is_relative_to(DATA) or Path(path).is_relative_to(SCRATCH) for path in written)


def test_kernels_are_compiled_for_the_cpu_that_the_image_names() -> None:
    (warmed,) = re.findall(r"^RUN (NUMBA_.*?[^\\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        (argument,) = re.findall(rf'{name}="\$\{{(\w+)\}}"', warmed)
        assert f"{name}=${{{argument}}}" in DOCKERFILE.split("ENV ")[1]
    assert image_variables()["NUMBA_CPU_NAME"] == "generic"


def test_what_the_image_copies_is_not_ignored() -> None:
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == copied - {"--chmod=755"}
    assert all((ROOT / name).exists() for name in copied - {"--chmod=755"})


def test_variables_are_settings() -> None:
    given = {**image_variables(), **compose()["services"]["lever"]["environment"]}
    ours = {name: value for name, value in given.items() if name.startswith(PREFIX)}
    assert all(known(name) for name in ours)
    assert settings({}, {**ours, "LEVER_EXPERIMENTS": str(ROOT / "deploy" / "examples")}).redis_url
    assert all(known(name) for name in re.findall(r"\bLEVER_[A-Z_]+(?==)", UNIT.read_text()))


@contextmanager
def entered(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The image's entry point with the image's variables, in a folder of the test. Yields the process and its HTTP port."""
    grpc, http = free_ports(2)
    variables = {
        name: value.replace(SCRATCH, str(folder / "tmp")).replace(DATA, str(folder / "data"))
        for name, value in image_variables().items()
    }
    variables |= {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "LEVER_KERNELS": os.environ["NUMBA_CACHE_DIR"],
        "LEVER_INSECURE": "true",
    }
    variables |= {"LEVER_GRPC_PORT": str(grpc), "LEVER_HTTP_PORT": str(http), "TMPDIR": str(folder / "tmp")}
    # The kernels that tests have were compiled for this very CPU.
    variables = {name: value for name, value in variables.items() if not name.startswith("NUMBA_CPU")}
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [str(DOCKER / "entrypoint.sh"), "serve"], env=variables, cwd=folder / "data", text=True,
            stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        yield process, str(http)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def test_the_entry_point_serves_with_the_kernels_of_the_image_and_stops(tmp_path: Path) -> None:
    for name in ("tmp", "data"):
        (tmp_path / name).mkdir()
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    with entered(tmp_path) as (process, port):
        assert process.stdout is not None
        assert "Lever is ready" in process.stdout.readline(), (tmp_path / "errors").read_text()
        health = [sys.executable, *json.loads(check)[1:]]
        health[-1] = health[-1].replace("8080", port)
        eventually(lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0)
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
    given, copied = Path(os.environ["NUMBA_CACHE_DIR"]), tmp_path / "tmp" / "kernels"
    served = [file for file in copied.rglob("*.nbc") if "bandits_" in file.parent.name]
    assert {file.relative_to(copied) for file in served} <= {file.relative_to(given) for file in given.rglob("*.nbc")}
    assert {path.name for path in (tmp_path / "tmp").iterdir()} == {"kernels"}


def test_the_compose_file_fits_its_schema() -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_the_compose_file_mounts_what_is_there() -> None:
    services, volumes = compose()["services"], compose()["volumes"]
    for service in services.values():
        for source in (volume.split(":")[0] for volume in service.get("volumes", ())):
            assert source in volumes or (DOCKER / source).exists()
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["lever:8080"]
    source = yaml.safe_load((DOCKER / "grafana/datasource.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    folder = yaml.safe_load((DOCKER / "grafana/dashboards.yaml").read_text())["providers"][0]["options"]["path"]
    assert f"../grafana:{folder}:ro" in services["grafana"]["volumes"]


def test_the_store_of_the_compose_file_keeps_what_is_promised() -> None:
    command = compose()["services"]["valkey"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert (given["--appendonly"], given["--appendfsync"], given["--maxmemory-policy"]) == (
        "yes",
        "always",
        "noeviction",
    )


def test_systemd_takes_the_unit_and_finds_little_exposed(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "lever.service"
    unit.write_text(UNIT.read_text().replace("/opt/lever/bin/lever", str(BIN / "lever")))
    said = run(analyze, "verify", "--man=no", unit)
    assert "lever.service" not in said
    security = subprocess.run(
        [analyze, "security", "--offline=true", unit], capture_output=True, text=True, check=False
    )
    found = re.search(r"exposure level for lever.service: ([0-9.]+)", security.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze has no offline mode: {security.stderr}")
    assert float(found[1]) <= EXPOSURE


def test_the_unit_gives_lever_the_time_it_takes_to_stop() -> None:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(seconds) >= Settings().grace_s + 30  # the last flush, the HTTP process, the store
    assert "KillMode=mixed" in UNIT.read_text()
    assert "MemoryDenyWriteExecute=no" in UNIT.read_text()

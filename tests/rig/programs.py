"""The repository, its image, and the programs of the machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from service.process.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
PREFIX = "LEVER_"


def missing(what: str) -> NoReturn:
    """Skip here, but fail where CI is set: there everything has to be in place."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing", pytrace=False)
    pytest.skip(f"{what} is not installed")


def program(name: str) -> str:
    """Where a program is; without it the test is skipped, in CI it fails."""
    return shutil.which(name) or missing(name)


def redis_server() -> Path:
    """The system's own Redis, before any other on PATH."""
    system = Path("/usr/bin/redis-server")
    return system if system.exists() else Path(program("redis-server"))


def known(name: str) -> bool:
    """Whether something reads this LEVER_ variable."""
    return name.removeprefix(PREFIX).lower() in Settings.__dataclass_fields__ or name == "LEVER_CACHE"


def image_variables() -> dict[str, str]:
    """What the image sets, as `docker build` without arguments would."""
    (block,) = re.findall(r"^ENV (.*?[^\\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    pairs = dict(part.split("=", 1) for part in shlex.split(block.replace("\\\n", " ")))
    arguments = dict(re.findall(r"^ARG (\w+)=(.*)$", DOCKERFILE, re.MULTILINE))
    return {
        name: re.sub(r"\$\{(\w+)\}", lambda m: arguments.get(m[1], m[0]), value).strip('"')
        for name, value in pairs.items()
    }

"""What the container image sets, read from its Dockerfile."""

from __future__ import annotations

import re
import shlex

from service.process.settings import Settings
from tests.rig.programs import ROOT

DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
PREFIX = "LEVER_"


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

"""`python -m tests.architecture` writes docs/packages.svg from the imports, and says what breaks a rule."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.architecture.picture import draw
from tests.architecture.repository import Repository
from tests.architecture.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs/packages.svg"
HIDDEN = {"service", "service.__main__", "loadtest", "loadtest.__main__"}  # a version and two entries


def picture(repository: Repository) -> str:
    """The picture of a repository."""
    packages = {name: says for name, says in repository.packages.items() if name not in HIDDEN}
    arrows = {name: set(repository.arrows[name]) - HIDDEN for name in packages}
    return draw(packages, arrows)


def main() -> int:
    """The exit code: 1 where a rule is broken."""
    repository = Repository.read(ROOT)
    PICTURE.write_text(picture(repository))
    broken = [line for rule in RULES for line in rule(repository)]
    sys.stdout.write("".join(f"{line}\n" for line in broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m loadtest tables`: writes the figures of docs/numbers into README.md and docs, or says which document has others.

What stands between `<!-- numbers: NAME -->` and `<!-- end -->` is made from the files in docs/numbers: by a function of
loadtest/tables/blocks.py or goals.py, or, where NAME has braces, by Python's `format`, each file by its name:
`<!-- numbers: {rpc[select_rps]:,.0f} -->`. Run it after a measurement; `make check` says where that was forgotten.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from loadtest.tables.blocks import BLOCKS
from loadtest.tables.numbers import Numbers

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"(<!-- numbers: (.+?) -->)(.*?)(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 where `--check` finds documents that do not agree, or a mark names what there is not."""
    made = argparse.ArgumentParser("python -m loadtest tables", description=__doc__)
    made.add_argument("--check", action="store_true", help="change nothing, name what does not agree")
    made.add_argument("--root", type=Path, default=ROOT, help="the folder of README.md and docs")
    options = made.parse_args(arguments)
    numbers = Numbers(options.root / "docs" / "numbers")
    wrong = False
    for path in (options.root / "README.md", *sorted((options.root / "docs").glob("*.md"))):
        name, text = path.relative_to(options.root), path.read_text("utf-8")
        try:
            new = written(text, numbers)
        except (LookupError, ValueError, OSError) as error:
            print(f"{name}: {type(error).__name__}: {error}")
            wrong = True
            continue
        if new == text:
            continue
        wrong |= options.check
        print(f"{name} has not the figures of docs/numbers: python -m loadtest tables" if options.check else name)
        if not options.check:
            path.write_text(new, "utf-8")
    return int(wrong)


def written(text: str, numbers: Numbers) -> str:
    """A document with its marked figures made anew.

    Raises:
        LookupError: A mark names a block or a figure that there is not.
        OSError: A mark names a file that there is not.
        ValueError: A format fits no number.

    """

    def anew(found: re.Match[str]) -> str:
        begin, name, _, end = found.groups()
        return begin + (name.format_map(numbers) if "{" in name else f"\n{BLOCKS[name](numbers)}\n") + end

    return MARKED.sub(anew, text)

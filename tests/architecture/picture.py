"""The packages as a picture: a box with its sentence for each, an arrow to what it imports from.

The longest chain of imports stands in the middle, one row a package, the ground at the bottom. Beside it stand the
others, each in the row it has reached: on the right those that import from each other, on the left the rest. Arrows that
follow from two others are left out. All arrows to one box share a line, which runs beside the columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import pairwise

Arrows = dict[str, set[str]]

WIDTH, HEIGHT, PITCH, MARGIN = 310, 66, 92, 14
EDGE, LANE = 18, 13  # from a box to the first line beside it, and from there to the next
WORDS = 46  # letters in a line of a sentence
STYLE = (
    "text{font-family:Helvetica,Arial,sans-serif;fill:#111}.name{font-size:14px;font-weight:bold}.says{font-size:11px}"
    ".box{fill:#fff;stroke:#333;stroke-width:1.2}.line{fill:none;stroke:#456;stroke-width:1.3}"
)
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0L8,4L0,8z" fill="#456"/></marker>'
)


@dataclass(frozen=True)
class Box:
    """Where a package stands: column 0, 1 or 2, and row 0 at the bottom."""

    column: int
    row: int


def draw(packages: dict[str, str], arrows: Arrows) -> str:
    """The SVG of these packages, each with its sentence, and these arrows."""
    least = reduced(arrows)
    plan = Plan(placed(arrows, least), least)
    width, height = plan.left(3) + MARGIN, plan.upper(-1) + MARGIN + 14
    shown, every = sum(map(len, least.values())), sum(map(len, arrows.values()))
    words = f"An arrow goes to what a package imports from. {every - shown} of {every} follow from the others and are left out."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}</style>",
        f"<defs>{HEAD}</defs>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *plan.lines(),
        *(part for name in plan.boxes for part in plan.box(name, packages[name])),
        f'<text class="says" x="{MARGIN}" y="{height - MARGIN}">{words}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def reduced(arrows: Arrows) -> Arrows:
    """Without the arrows that follow from two or more others."""

    @cache
    def reach(name: str) -> frozenset[str]:
        return frozenset(arrows[name]).union(*(reach(one) for one in arrows[name]))

    return {
        name: {one for one in targets if not any(one in reach(other) for other in targets)}
        for name, targets in arrows.items()
    }


def placed(arrows: Arrows, least: Arrows) -> dict[str, Box]:
    """A box for each package, from the top down."""

    @cache
    def level(name: str) -> int:
        return 1 + max((level(one) for one in arrows[name]), default=-1)

    spine = [max(sorted(arrows, reverse=True), key=level)]  # of two, the service's
    while below := sorted(one for one in least[spine[-1]] if level(one) == level(spine[-1]) - 1):
        spine.append(below[0])
    rest = {name for name in arrows if name not in spine}
    neighbours = {name: {one for one in rest if one in least[name] or name in least[one]} for name in rest}
    boxes = {name: Box(1, level(name)) for name in spine}
    taken = set(boxes.values())
    users = {name: [level(one) for one in arrows if name in least[one]] for name in arrows}
    for name in sorted(rest, key=lambda one: (level(one), one)):
        # What imports nothing stands right under the first that needs it.
        row = level(name) or max(0, min(users[name], default=1) - 1)
        column = 2 if neighbours[name] else 0
        while Box(column, row) in taken:
            row += 1
        boxes[name] = Box(column, row)
        taken.add(boxes[name])
    return dict(sorted(boxes.items(), key=lambda item: (-item[1].row, item[1].column)))


class Plan:
    """Boxes and lines in their places."""

    def __init__(self, boxes: dict[str, Box], least: Arrows) -> None:
        self.boxes = boxes
        self._least = least
        self._top = max(box.row for box in boxes.values())
        self._trunks = [self._trunk(gap) for gap in range(3)]

    def left(self, column: int) -> int:
        """Where a column begins."""
        gaps = [2 * EDGE + LANE * max(0, len(trunk) - 1) for trunk in self._trunks]
        return MARGIN + column * WIDTH + sum(gaps[:column])

    def upper(self, row: int) -> int:
        """Where a row begins."""
        return MARGIN + (self._top - row) * PITCH

    def box(self, name: str, sentence: str) -> Iterator[str]:
        """A box, its name and its sentence."""
        x, y = self.left(self.boxes[name].column), self.upper(self.boxes[name].row)
        yield f'<rect class="box" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>'
        yield f'<text class="name" x="{x + 10}" y="{y + 19}">{escape(name)}</text>'
        for number, line in enumerate(textwrap.wrap(sentence, WORDS)):
            yield f'<text class="says" x="{x + 10}" y="{y + 34 + 13 * number}">{escape(line)}</text>'

    def lines(self) -> Iterator[str]:
        """Every arrow: straight down in the middle column, else through a gap."""
        x = self.left(1) + WIDTH // 2
        for above, under in pairwise(box for box in self.boxes.values() if box.column == 1):
            yield arrow(f"M{x},{self.upper(above.row) + HEIGHT}V{self.upper(under.row)}")
        for gap, trunk in enumerate(self._trunks):
            for lane, (target, sources) in enumerate(trunk.items()):
                x = self.left(gap) + WIDTH + EDGE + lane * LANE
                end = self.upper(self.boxes[target].row) + 14 + 6 * (lane % 2)
                for source in sources:
                    y = (
                        self.upper(self.boxes[source].row)
                        + HEIGHT
                        - 8
                        - 6 * (lane % 4)
                        - 3 * (self.boxes[source].column > gap)
                    )
                    yield arrow(f"M{self._side(source, gap)},{y}H{x}V{end}H{self._side(target, gap)}")

    def _trunk(self, gap: int) -> dict[str, list[str]]:
        """Target to sources of the arrows in a gap, in the order of their lines. Gap 2 lies right of the last column."""
        between = {gap, gap + 1} if gap < 2 else {2}

        def sources(target: str) -> list[str]:
            columns = {one: {box.column, self.boxes[target].column} for one, box in self.boxes.items()}
            return [one for one in self.boxes if target in self._least[one] and columns[one] == between]

        def length(target: str) -> int:
            return max(self.boxes[one].row for one in sources(target)) - self.boxes[target].row

        # Short lines run nearest to the left, so that few cross.
        return {one: sources(one) for one in sorted((one for one in self.boxes if sources(one)), key=length)}

    def _side(self, name: str, gap: int) -> int:
        """The edge of a box that looks at a gap."""
        column = self.boxes[name].column
        return self.left(column) + (WIDTH if column == gap else 0)


def arrow(path: str) -> str:
    """A line with a head."""
    return f'<path class="line" marker-end="url(#head)" d="{path}"/>'

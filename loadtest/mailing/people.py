"""The list, the experiments, and what is in the choices."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path

_EXPERIMENT = """\
experiment: {name}
arms:
{arms}
default_arm: line-0
features:
  industry: {{type: category, values: [software, retail, finance, other]}}
  source: {{type: category, values: [search, mail, ads]}}
  visits: {{type: number, min: 0, max: 50}}
  returning: {{type: flag}}
metrics: [{{id: click, window: 7d}}]
"""
_ARM = (
    "  - {{id: line-{k}, payload: {{subject_line: 'The {k}th way to say it', preheader: 'And what comes after it'}}}}"
)
_ARMS = "\n".join(_ARM.format(k=k) for k in range(10))
EXPERIMENTS = {name: _EXPERIMENT.format(name=name, arms=_ARMS) for name in ("calm", "killed")}


def write_people(path: Path, count: int, seed: int) -> None:
    """A list; the recipient in row i is `p{i}@example.com`."""
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["email", "industry", "source", "visits", "returning"])
        out.writerows(
            [
                f"p{i}@example.com", rng.choice(("software", "retail", "finance", "other", "")),
                rng.choice(("search", "mail", "ads")), rng.randrange(60), rng.choice(("true", "false")),
            ]
            for i in range(count)
        )  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """How many recipients have none, how many more than one; the least of the arms' effective shares."""

    missing: int
    double: int
    effective_share: float


def read_choices(path: Path, count: int) -> Choices:
    """What is in a file of choices."""
    times = bytearray(count)
    weights: dict[str, list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            number = int(row["email"][1 : row["email"].index("@")])
            times[number] = min(times[number] + 1, 255)
            weight, sums = 1.0 / float(row["propensity"]), weights.setdefault(row["arm"], [0.0, 0.0, 0.0])
            for place, value in enumerate((1.0, weight, weight * weight)):
                sums[place] += value
    # Of "always arm k" the rows with arm k tell, each by 1 / propensity: so many of equal weight would tell as much.
    share = min(total * total / squares / rows for rows, total, squares in weights.values())
    return Choices(times.count(0), sum(times) - (count - times.count(0)), share)

"""The file that names a policy to be evaluated: `algorithm`, its settings beside it, `weights` for `fixed`.

algorithm: linucb
alpha: 0.5
floor: 0.02

`algorithm: best` is no policy that serves: always the arm whose serving everybody gives up the least, as reports have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.auto import Side, restrict
from bandits.belief import fixed
from bandits.policy import POLICIES, Policy
from bandits.posterior import Posterior, Sums
from bandits.prior import Priors
from bandits.summary import Span, seen, summary
from service.errors import InvalidError
from service.experiment.parsing.settings import read_settings, warnings_of
from service.serving.snapshot import average
from service.text.document import load
from service.text.fields import Fields, Problems


@dataclass(frozen=True, slots=True)
class Target:
    """A policy with complete settings; for `fixed` also weights by arm number, as the experiment has them."""

    policy: Policy
    settings: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def learns(self) -> bool:
        """Whether it depends on the log it is judged by."""
        return self.name not in ("fixed", "uniform")

    @property
    def name(self) -> str:
        """The algorithm."""
        return self.policy.name


def read_policy(text: str, arms: Sequence[str]) -> Target:
    """The policy that a text describes, for arms by number. InvalidError with every problem, its field and line."""
    root, violations = load(text)
    problems = Problems(violations)
    fields = Fields(problems, "", root)
    name = fields.choice("algorithm", tuple(_KNOWN), None)
    given = read_settings(fields, _KNOWN[name])
    settings = dict(given)
    if name == "fixed":
        settings |= _weights(fields, arms)
    if fields.fine("algorithm"):
        fields.done()  # without knowing the algorithm nobody knows its settings
    if problems.violations:
        raise InvalidError(sorted(problems.violations, key=lambda violation: violation.line or 0))
    return Target(_KNOWN[name], _KNOWN[name].complete(settings), warnings_of(_KNOWN[name], given))


def _best(
    sums: Sums, settings: Mapping[str, float], arms: NDArray[np.int64], priors: Priors | None = None
) -> Posterior:
    return _leader(sums, settings, arms, Side(priors=priors))


def _leader(sums: Sums, settings: Mapping[str, float], arms: NDArray[np.int64], side: Side) -> Posterior:
    """All for the leader among `arms`; sums are over learning columns."""
    sums = sums if side.design is None else restrict(sums, side.design)
    span = Span(-1.0 if (sums.s1 < 0.0).any() else 0.0, 1.0, binary=False)
    said = summary(seen(sums, average(sums), side.priors)._replace(costs=side.costs), span, arms)
    return fixed(sums, {str(int(arms[int(said.loss.argmin())])): 1.0, "floor": 0.0}, arms)


_KNOWN: Mapping[str, Policy] = {**POLICIES, "best": Policy("best", False, {}, _best, _leader)}


def _weights(fields: Fields, arms: Sequence[str]) -> dict[str, float]:
    weights = fields.child("weights", required=True)
    if weights is None:
        return {}
    numbers = {arm: str(number) for number, arm in enumerate(arms)}
    found: dict[str, float] = {}
    for key in weights.names():
        value = weights.number(key, 0.0, 1e6)
        if key not in numbers:
            weights.add(key, f'there is no arm "{key[:80]}"')
        elif value is not None:
            found[numbers[key]] = value
    if not any(found.values()) and weights.readable:
        fields.add("weights", "at least one must be above zero")
    return found

"""The file that names a policy to be evaluated: `algorithm`, its settings beside it, `weights` for `fixed`.

algorithm: linucb
alpha: 0.5
floor: 0.02
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bandits.policy import POLICIES, Policy
from service.errors import InvalidError
from service.experiment.parse_settings import read_settings, warnings_of
from service.text.document import load
from service.text.fields import Fields, Problems


@dataclass(frozen=True, slots=True)
class Target:
    """A policy with complete settings; for `fixed` also weights by arm number, as the experiment has them."""

    policy: Policy
    settings: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The algorithm."""
        return self.policy.name


def read_policy(text: str, arms: Sequence[str]) -> Target:
    """The policy that a text describes, for arms by number. InvalidError with every problem, its field and line."""
    root, violations = load(text)
    problems = Problems(violations)
    fields = Fields(problems, "", root)
    name = fields.choice("algorithm", tuple(POLICIES), None)
    given = read_settings(fields, POLICIES[name])
    settings = dict(given)
    if name == "fixed":
        settings |= _weights(fields, arms)
    if fields.fine("algorithm"):
        fields.done()  # without knowing the algorithm nobody knows its settings
    if problems.violations:
        raise InvalidError(sorted(problems.violations, key=lambda violation: violation.line or 0))
    return Target(POLICIES[name], POLICIES[name].complete(settings), warnings_of(POLICIES[name], given))


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

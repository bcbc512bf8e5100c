"""A metric as rewards are judged by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bandits.credit import Credit
from service.errors import InvalidError
from service.experiment.parsing.metrics import total_limit
from service.experiment.spec import MetricSpec
from service.store.contract import Aggregate


@dataclass(frozen=True, slots=True)
class Metric:
    """What a reward means. Values are natural, `limit` is the largest |total| of a decision in units.

    `scale` = max(|minimum|, |maximum|), natural. `live` false: dropped by a later version, takes no more rewards.
    """

    number: int
    id: str
    unit: float
    minimum: float
    maximum: float
    window_ms: int
    grace_ms: int
    aggregate: Aggregate
    clip: bool
    primary: bool
    limit: int
    scale: float
    live: bool
    client: bool
    credit: Credit  # how a conversion's value is shared among several decisions,
    credit_half_life_ms: int  # under time decay: what halves one's weight
    min_delay_ms: int  # what comes sooner is no person's
    parts: tuple[str, ...] = ()  # ids of the metrics that it is a sum of; no reward is of it then

    @property
    def floored(self) -> bool:
        """Whether negative values are refunds: they lower a decision's total, to 0 at most."""
        return self.aggregate is Aggregate.SUM and self.clip and self.minimum >= 0

    def units(self, value: float) -> int:
        """The value as a whole multiple of `unit`, rounded half to even; clipped first where outliers are.

        A negative one of a metric that is `floored` is a refund, and clipped to the largest total alone.
        InvalidError names `value`: NaN, infinite, or outside [minimum, maximum] and not to be clipped.
        """
        if not math.isfinite(value):
            raise InvalidError.field("value", "must be a finite number")
        if not self.minimum <= value <= self.maximum:
            if not self.clip:
                span = f"{self.minimum:.12g} and {self.maximum:.12g}"
                raise InvalidError.field(
                    "value", f'must be between {span} for the metric "{self.id}", not {value:.12g}'
                )
            if self.floored and value < 0:
                if not round(value / self.unit):
                    raise InvalidError.field("value", f"is less than the unit of {self.unit:g}: nothing would change")
                return max(round(value / self.unit), -self.limit)
            value = self.minimum if value < self.minimum else self.maximum
        return round(value / self.unit)


def metric_of(place: int, spec: MetricSpec, live: bool) -> Metric:
    """The metric of this number; `live`: named in the newest configuration."""
    return Metric(
        number=place,
        id=spec.id,
        unit=spec.unit,
        minimum=spec.min,
        maximum=spec.max,
        window_ms=spec.window_ms,
        grace_ms=spec.grace_ms,
        aggregate=Aggregate[spec.aggregate.upper()],
        clip=spec.clip,
        primary=spec.primary,
        limit=total_limit(spec),
        scale=max(abs(spec.min), abs(spec.max)),
        live=live,
        client=spec.client,
        credit=Credit(spec.credit),
        credit_half_life_ms=spec.credit_half_life_ms,
        min_delay_ms=spec.min_delay_ms,
        parts=tuple(spec.weights),
    )

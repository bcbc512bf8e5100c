"""A checked experiment as plain data: what parse.py makes of the YAML and what is kept in the record.

Times and durations are integer milliseconds, sizes are bytes. Everything here encodes to JSON and back.
"""

from __future__ import annotations

import msgspec

MAX_ARMS = 200
MAX_COLUMNS = 64
MAX_SEGMENTS = 64
MAX_METRICS = 16
MAX_GUARDRAILS = 16
MAX_PAYLOAD = 64 << 10
DEFAULT_SEGMENT = "default"

DAY_MS = 86_400_000

# Roles of columns.
CONSTANT = "constant"
VALUE = "value"
UNKNOWN = "unknown"
MISSING = "missing"


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Part of a record. What only a newer version knows is refused by older ones, and left out where it is not used: so a
    default, once released, stays what it is (docs/design.md, formats).
    """

    def __post_init__(self) -> None:
        """What equals a default is the default: msgspec leaves out no other."""
        defaults = self.__struct_defaults__
        for name, default in zip(self.__struct_fields__[-len(defaults) :] if defaults else (), defaults, strict=True):
            value = getattr(self, name)
            if value is not default and type(value) is type(default) and value == default:
                msgspec.structs.force_setattr(self, name, default)


class PriorSpec(Kept, frozen=True):
    """What is expected of an arm: mean reward of the primary metric, worth `weight` trials."""

    mean: float
    weight: float


class ArmSpec(Kept, frozen=True):
    """One variant. `payload` is JSON text; `segments` None means everywhere; `cost` is of showing it once."""

    id: str
    payload: str
    attributes: dict[str, str | bool | int | float] = {}
    segments: tuple[str, ...] | None = None
    state: str = "active"
    start_ms: int | None = None
    end_ms: int | None = None
    prior: PriorSpec | None = None
    cost: float | None = None  # nothing; not 0.0, which would be kept (see Kept)


class FeatureSpec(Kept, frozen=True):
    """One feature of the context; its type (features/) says which of the rest it has."""

    type: str
    values: tuple[str, ...] = ()
    min: float = 0.0
    max: float = 0.0


class ColumnSpec(Kept, frozen=True):
    """What a column means: `role` is constant, value, unknown or missing; `value` names one of several values."""

    feature: str
    role: str
    value: str = ""


class ConditionSpec(Kept, frozen=True):
    """One condition of a segment; the feature's type (features/) says which fields count, and how."""

    feature: str
    type: str
    texts: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    flag: bool = False


class SegmentSpec(Kept, frozen=True):
    """A named rule; all conditions must hold. `serve_default`: everyone in it sees the default arm."""

    id: str
    when: tuple[ConditionSpec, ...] = ()
    serve_default: bool = False


class MetricSpec(Kept, frozen=True):
    """What a reward means. `unit` is the grain in which totals are counted; `client` lets browser keys send it.

    One with `weights`, by metric, is their sum, and all but its id and `primary` follows from theirs.
    """

    id: str
    primary: bool
    unit: float
    min: float
    max: float
    window_ms: int
    grace_ms: int
    aggregate: str
    clip: bool
    client: bool = False
    credit: str = "last"
    credit_half_life_ms: int = 7 * 86_400_000
    min_delay_ms: int = 0
    weights: dict[str, float] = {}


class GuardrailSpec(Kept, frozen=True):
    """What an arm may do to a metric at most; `kind` is one of bandits/guardrail.py, the key that was given."""

    metric: str
    kind: str
    limit: float


class AlgorithmSpec(Kept, frozen=True):
    """Name, the settings that were given, and for `fixed` the weights by arm id."""

    name: str
    settings: dict[str, float] = {}
    weights: dict[str, float] = {}


class Spec(Kept, frozen=True):
    """One experiment. `segments` are in matching order and end with `default`.

    `client`: browser keys may ask for choices. `lines` maps field paths to line numbers of the text; it serves error messages and is not kept.
    """

    experiment: str
    description: str
    state: str
    winner: str | None
    start_ms: int | None
    end_ms: int | None
    arms: tuple[ArmSpec, ...]
    default_arm: str
    algorithm: AlgorithmSpec
    features: dict[str, FeatureSpec]
    segments: tuple[SegmentSpec, ...]
    metrics: tuple[MetricSpec, ...]
    holdout_share: float
    holdout_uniform: bool
    sticky_ms: int | None
    half_life_ms: int | None
    keep_ms: int
    keep_bytes: int
    client: bool = False
    guardrails: tuple[GuardrailSpec, ...] = ()
    lines: dict[str, int] = {}


class ExclusionSpec(Kept, frozen=True):
    """Decisions that do not count: from `from_ms` until before `to_ms`, of these arm numbers or, without any, of all."""

    number: int
    from_ms: int
    to_ms: int
    arms: tuple[int, ...] = ()

from service.pb.lever.v1 import personalization_pb2 as _personalization_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TimelineStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIMELINE_STEP_UNSPECIFIED: _ClassVar[TimelineStep]
    TIMELINE_STEP_HOUR: _ClassVar[TimelineStep]
    TIMELINE_STEP_DAY: _ClassVar[TimelineStep]
TIMELINE_STEP_UNSPECIFIED: TimelineStep
TIMELINE_STEP_HOUR: TimelineStep
TIMELINE_STEP_DAY: TimelineStep

class Experiment(_message.Message):
    __slots__ = ("name", "uid", "version", "state", "config", "applied_at_ms", "arms", "algorithm", "warnings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    APPLIED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    version: int
    state: str
    config: str
    applied_at_ms: int
    arms: _containers.RepeatedScalarFieldContainer[str]
    algorithm: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[str] = ..., config: _Optional[str] = ..., applied_at_ms: _Optional[int] = ..., arms: _Optional[_Iterable[str]] = ..., algorithm: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class PutExperimentRequest(_message.Message):
    __slots__ = ("config", "expected_version")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    config: str
    expected_version: int
    def __init__(self, config: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class PutExperimentResponse(_message.Message):
    __slots__ = ("experiment", "changed")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    changed: bool
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., changed: _Optional[bool] = ...) -> None: ...

class GetExperimentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetExperimentResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class ListExperimentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListExperimentsResponse(_message.Message):
    __slots__ = ("experiments",)
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    experiments: _containers.RepeatedCompositeFieldContainer[Experiment]
    def __init__(self, experiments: _Optional[_Iterable[_Union[Experiment, _Mapping]]] = ...) -> None: ...

class DeleteExperimentRequest(_message.Message):
    __slots__ = ("name", "expected_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    expected_version: int
    def __init__(self, name: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class DeleteExperimentResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RestoreExperimentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RestoreExperimentResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class AcceptLossRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class AcceptLossResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("name", "version", "algorithm", "metric", "segments", "log_id", "stale", "headline", "lifts", "sample_ratio", "totals", "guardrails", "exclusions", "features", "arrival")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    HEADLINE_FIELD_NUMBER: _ClassVar[int]
    LIFTS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATIO_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    GUARDRAILS_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    algorithm: str
    metric: str
    segments: _containers.RepeatedCompositeFieldContainer[SegmentReport]
    log_id: str
    stale: bool
    headline: str
    lifts: _containers.RepeatedCompositeFieldContainer[Lift]
    sample_ratio: SampleRatio
    totals: _containers.RepeatedCompositeFieldContainer[Total]
    guardrails: _containers.RepeatedCompositeFieldContainer[GuardrailReport]
    exclusions: _containers.RepeatedCompositeFieldContainer[Exclusion]
    features: _containers.RepeatedCompositeFieldContainer[Influence]
    arrival: Arrival
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., algorithm: _Optional[str] = ..., metric: _Optional[str] = ..., segments: _Optional[_Iterable[_Union[SegmentReport, _Mapping]]] = ..., log_id: _Optional[str] = ..., stale: _Optional[bool] = ..., headline: _Optional[str] = ..., lifts: _Optional[_Iterable[_Union[Lift, _Mapping]]] = ..., sample_ratio: _Optional[_Union[SampleRatio, _Mapping]] = ..., totals: _Optional[_Iterable[_Union[Total, _Mapping]]] = ..., guardrails: _Optional[_Iterable[_Union[GuardrailReport, _Mapping]]] = ..., exclusions: _Optional[_Iterable[_Union[Exclusion, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[Influence, _Mapping]]] = ..., arrival: _Optional[_Union[Arrival, _Mapping]] = ...) -> None: ...

class Arrival(_message.Message):
    __slots__ = ("rewards", "half_ms", "most_ms", "age_ms", "share", "low", "high")
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    HALF_MS_FIELD_NUMBER: _ClassVar[int]
    MOST_MS_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    rewards: int
    half_ms: float
    most_ms: float
    age_ms: _containers.RepeatedScalarFieldContainer[float]
    share: _containers.RepeatedScalarFieldContainer[float]
    low: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, rewards: _Optional[int] = ..., half_ms: _Optional[float] = ..., most_ms: _Optional[float] = ..., age_ms: _Optional[_Iterable[float]] = ..., share: _Optional[_Iterable[float]] = ..., low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ...) -> None: ...

class Exclusion(_message.Message):
    __slots__ = ("number", "from_ms", "to_ms", "arms", "trials")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    number: int
    from_ms: int
    to_ms: int
    arms: _containers.RepeatedScalarFieldContainer[str]
    trials: int
    def __init__(self, number: _Optional[int] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., arms: _Optional[_Iterable[str]] = ..., trials: _Optional[int] = ...) -> None: ...

class GuardrailReport(_message.Message):
    __slots__ = ("metric", "kind", "limit", "arm", "state", "trials", "estimate", "low", "high", "level", "paused_since_ms")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    PAUSED_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    metric: str
    kind: str
    limit: float
    arm: str
    state: str
    trials: int
    estimate: float
    low: float
    high: float
    level: float
    paused_since_ms: int
    def __init__(self, metric: _Optional[str] = ..., kind: _Optional[str] = ..., limit: _Optional[float] = ..., arm: _Optional[str] = ..., state: _Optional[str] = ..., trials: _Optional[int] = ..., estimate: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., level: _Optional[float] = ..., paused_since_ms: _Optional[int] = ...) -> None: ...

class Lift(_message.Message):
    __slots__ = ("metric", "segment", "policy_trials", "policy_reward_sum", "holdout_trials", "holdout_reward_sum", "too_early", "difference", "standard_error", "low", "high", "relative", "relative_standard_error", "relative_low", "relative_high", "p_value", "fixed_low", "fixed_high", "incremental", "incremental_standard_error", "from_ms", "to_ms", "buckets")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    POLICY_TRIALS_FIELD_NUMBER: _ClassVar[int]
    POLICY_REWARD_SUM_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_TRIALS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_REWARD_SUM_FIELD_NUMBER: _ClassVar[int]
    TOO_EARLY_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_LOW_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_HIGH_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    FIXED_LOW_FIELD_NUMBER: _ClassVar[int]
    FIXED_HIGH_FIELD_NUMBER: _ClassVar[int]
    INCREMENTAL_FIELD_NUMBER: _ClassVar[int]
    INCREMENTAL_STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    metric: str
    segment: str
    policy_trials: int
    policy_reward_sum: float
    holdout_trials: int
    holdout_reward_sum: float
    too_early: str
    difference: float
    standard_error: float
    low: float
    high: float
    relative: float
    relative_standard_error: float
    relative_low: float
    relative_high: float
    p_value: float
    fixed_low: float
    fixed_high: float
    incremental: float
    incremental_standard_error: float
    from_ms: int
    to_ms: int
    buckets: BucketSums
    def __init__(self, metric: _Optional[str] = ..., segment: _Optional[str] = ..., policy_trials: _Optional[int] = ..., policy_reward_sum: _Optional[float] = ..., holdout_trials: _Optional[int] = ..., holdout_reward_sum: _Optional[float] = ..., too_early: _Optional[str] = ..., difference: _Optional[float] = ..., standard_error: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., relative: _Optional[float] = ..., relative_standard_error: _Optional[float] = ..., relative_low: _Optional[float] = ..., relative_high: _Optional[float] = ..., p_value: _Optional[float] = ..., fixed_low: _Optional[float] = ..., fixed_high: _Optional[float] = ..., incremental: _Optional[float] = ..., incremental_standard_error: _Optional[float] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., buckets: _Optional[_Union[BucketSums, _Mapping]] = ...) -> None: ...

class BucketSums(_message.Message):
    __slots__ = ("policy_trials", "policy_reward_sums", "holdout_trials", "holdout_reward_sums")
    POLICY_TRIALS_FIELD_NUMBER: _ClassVar[int]
    POLICY_REWARD_SUMS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_TRIALS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_REWARD_SUMS_FIELD_NUMBER: _ClassVar[int]
    policy_trials: _containers.RepeatedScalarFieldContainer[int]
    policy_reward_sums: _containers.RepeatedScalarFieldContainer[float]
    holdout_trials: _containers.RepeatedScalarFieldContainer[int]
    holdout_reward_sums: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, policy_trials: _Optional[_Iterable[int]] = ..., policy_reward_sums: _Optional[_Iterable[float]] = ..., holdout_trials: _Optional[_Iterable[int]] = ..., holdout_reward_sums: _Optional[_Iterable[float]] = ...) -> None: ...

class SampleRatio(_message.Message):
    __slots__ = ("expected", "observed", "p_value", "mismatch")
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    MISMATCH_FIELD_NUMBER: _ClassVar[int]
    expected: float
    observed: float
    p_value: float
    mismatch: bool
    def __init__(self, expected: _Optional[float] = ..., observed: _Optional[float] = ..., p_value: _Optional[float] = ..., mismatch: _Optional[bool] = ...) -> None: ...

class SegmentReport(_message.Message):
    __slots__ = ("segment", "arms", "changes", "outage", "served", "too_early", "totals", "stop", "attributes")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    TOO_EARLY_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    segment: str
    arms: _containers.RepeatedCompositeFieldContainer[ArmReport]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    outage: Outage
    served: str
    too_early: bool
    totals: _containers.RepeatedCompositeFieldContainer[Total]
    stop: Stop
    attributes: _containers.RepeatedCompositeFieldContainer[Influence]
    def __init__(self, segment: _Optional[str] = ..., arms: _Optional[_Iterable[_Union[ArmReport, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., outage: _Optional[_Union[Outage, _Mapping]] = ..., served: _Optional[str] = ..., too_early: _Optional[bool] = ..., totals: _Optional[_Iterable[_Union[Total, _Mapping]]] = ..., stop: _Optional[_Union[Stop, _Mapping]] = ..., attributes: _Optional[_Iterable[_Union[Influence, _Mapping]]] = ...) -> None: ...

class Influence(_message.Message):
    __slots__ = ("name", "value", "step", "too_early", "difference", "standard_error", "low", "high", "share")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOO_EARLY_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    step: float
    too_early: str
    difference: float
    standard_error: float
    low: float
    high: float
    share: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., step: _Optional[float] = ..., too_early: _Optional[str] = ..., difference: _Optional[float] = ..., standard_error: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., share: _Optional[float] = ...) -> None: ...

class Stop(_message.Message):
    __slots__ = ("leader", "loss", "remaining", "settled")
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    leader: str
    loss: float
    remaining: float
    settled: bool
    def __init__(self, leader: _Optional[str] = ..., loss: _Optional[float] = ..., remaining: _Optional[float] = ..., settled: _Optional[bool] = ...) -> None: ...

class Total(_message.Message):
    __slots__ = ("group", "metric", "trials", "rewarded", "reward_sum", "mean", "cost")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    REWARDED_FIELD_NUMBER: _ClassVar[int]
    REWARD_SUM_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    group: str
    metric: str
    trials: int
    rewarded: int
    reward_sum: float
    mean: float
    cost: float
    def __init__(self, group: _Optional[str] = ..., metric: _Optional[str] = ..., trials: _Optional[int] = ..., rewarded: _Optional[int] = ..., reward_sum: _Optional[float] = ..., mean: _Optional[float] = ..., cost: _Optional[float] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("arm", "from_ms", "times")
    ARM_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    arm: str
    from_ms: int
    times: float
    def __init__(self, arm: _Optional[str] = ..., from_ms: _Optional[int] = ..., times: _Optional[float] = ...) -> None: ...

class Outage(_message.Message):
    __slots__ = ("from_ms", "seen_ms")
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    from_ms: int
    seen_ms: int
    def __init__(self, from_ms: _Optional[int] = ..., seen_ms: _Optional[int] = ...) -> None: ...

class ArmReport(_message.Message):
    __slots__ = ("arm", "state", "trials", "rewarded", "reward_sum", "mean", "credible_low", "credible_high", "probability_best", "expected_loss", "traffic_share", "holdout_trials", "holdout_reward_sum", "posterior_mean", "metrics", "effect", "eligible")
    ARM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    REWARDED_FIELD_NUMBER: _ClassVar[int]
    REWARD_SUM_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    CREDIBLE_LOW_FIELD_NUMBER: _ClassVar[int]
    CREDIBLE_HIGH_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_BEST_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_LOSS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_SHARE_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_TRIALS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_REWARD_SUM_FIELD_NUMBER: _ClassVar[int]
    POSTERIOR_MEAN_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_FIELD_NUMBER: _ClassVar[int]
    arm: str
    state: str
    trials: int
    rewarded: int
    reward_sum: float
    mean: float
    credible_low: float
    credible_high: float
    probability_best: float
    expected_loss: float
    traffic_share: float
    holdout_trials: int
    holdout_reward_sum: float
    posterior_mean: float
    metrics: _containers.RepeatedCompositeFieldContainer[Total]
    effect: ArmEffect
    eligible: bool
    def __init__(self, arm: _Optional[str] = ..., state: _Optional[str] = ..., trials: _Optional[int] = ..., rewarded: _Optional[int] = ..., reward_sum: _Optional[float] = ..., mean: _Optional[float] = ..., credible_low: _Optional[float] = ..., credible_high: _Optional[float] = ..., probability_best: _Optional[float] = ..., expected_loss: _Optional[float] = ..., traffic_share: _Optional[float] = ..., holdout_trials: _Optional[int] = ..., holdout_reward_sum: _Optional[float] = ..., posterior_mean: _Optional[float] = ..., metrics: _Optional[_Iterable[_Union[Total, _Mapping]]] = ..., effect: _Optional[_Union[ArmEffect, _Mapping]] = ..., eligible: _Optional[bool] = ...) -> None: ...

class ArmEffect(_message.Message):
    __slots__ = ("too_early", "difference", "standard_error", "low", "high", "relative", "relative_low", "relative_high", "p_value")
    TOO_EARLY_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_LOW_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_HIGH_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    too_early: str
    difference: float
    standard_error: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    p_value: float
    def __init__(self, too_early: _Optional[str] = ..., difference: _Optional[float] = ..., standard_error: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., relative: _Optional[float] = ..., relative_low: _Optional[float] = ..., relative_high: _Optional[float] = ..., p_value: _Optional[float] = ...) -> None: ...

class ExcludeRequest(_message.Message):
    __slots__ = ("name", "from_ms", "to_ms", "arms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    from_ms: int
    to_ms: int
    arms: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., arms: _Optional[_Iterable[str]] = ...) -> None: ...

class ExcludeResponse(_message.Message):
    __slots__ = ("exclusion",)
    EXCLUSION_FIELD_NUMBER: _ClassVar[int]
    exclusion: Exclusion
    def __init__(self, exclusion: _Optional[_Union[Exclusion, _Mapping]] = ...) -> None: ...

class IncludeRequest(_message.Message):
    __slots__ = ("name", "number")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class IncludeResponse(_message.Message):
    __slots__ = ("exclusion",)
    EXCLUSION_FIELD_NUMBER: _ClassVar[int]
    exclusion: Exclusion
    def __init__(self, exclusion: _Optional[_Union[Exclusion, _Mapping]] = ...) -> None: ...

class GetTimelineRequest(_message.Message):
    __slots__ = ("name", "segment", "each_segment", "from_ms", "to_ms", "step")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    EACH_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    name: str
    segment: str
    each_segment: bool
    from_ms: int
    to_ms: int
    step: TimelineStep
    def __init__(self, name: _Optional[str] = ..., segment: _Optional[str] = ..., each_segment: _Optional[bool] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., step: _Optional[_Union[TimelineStep, str]] = ...) -> None: ...

class GetTimelineResponse(_message.Message):
    __slots__ = ("name", "metric", "kept_from_ms", "periods", "series", "lifts", "changes", "stale", "exclusions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    KEPT_FROM_MS_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    LIFTS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    metric: str
    kept_from_ms: int
    periods: _containers.RepeatedCompositeFieldContainer[TimelinePeriod]
    series: _containers.RepeatedCompositeFieldContainer[TimelineSeries]
    lifts: _containers.RepeatedCompositeFieldContainer[Lift]
    changes: _containers.RepeatedCompositeFieldContainer[HistoryEvent]
    stale: bool
    exclusions: _containers.RepeatedCompositeFieldContainer[Exclusion]
    def __init__(self, name: _Optional[str] = ..., metric: _Optional[str] = ..., kept_from_ms: _Optional[int] = ..., periods: _Optional[_Iterable[_Union[TimelinePeriod, _Mapping]]] = ..., series: _Optional[_Iterable[_Union[TimelineSeries, _Mapping]]] = ..., lifts: _Optional[_Iterable[_Union[Lift, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[HistoryEvent, _Mapping]]] = ..., stale: _Optional[bool] = ..., exclusions: _Optional[_Iterable[_Union[Exclusion, _Mapping]]] = ...) -> None: ...

class TimelinePeriod(_message.Message):
    __slots__ = ("start_ms", "end_ms")
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    start_ms: int
    end_ms: int
    def __init__(self, start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ...) -> None: ...

class TimelineSeries(_message.Message):
    __slots__ = ("segment", "arm", "metric", "group", "trials", "rewarded", "reward_sum", "reward_square_sum", "traffic_share", "mean_propensity", "probability_best")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    REWARDED_FIELD_NUMBER: _ClassVar[int]
    REWARD_SUM_FIELD_NUMBER: _ClassVar[int]
    REWARD_SQUARE_SUM_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_SHARE_FIELD_NUMBER: _ClassVar[int]
    MEAN_PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_BEST_FIELD_NUMBER: _ClassVar[int]
    segment: str
    arm: str
    metric: str
    group: str
    trials: _containers.RepeatedScalarFieldContainer[int]
    rewarded: _containers.RepeatedScalarFieldContainer[int]
    reward_sum: _containers.RepeatedScalarFieldContainer[float]
    reward_square_sum: _containers.RepeatedScalarFieldContainer[float]
    traffic_share: _containers.RepeatedScalarFieldContainer[float]
    mean_propensity: _containers.RepeatedScalarFieldContainer[float]
    probability_best: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, segment: _Optional[str] = ..., arm: _Optional[str] = ..., metric: _Optional[str] = ..., group: _Optional[str] = ..., trials: _Optional[_Iterable[int]] = ..., rewarded: _Optional[_Iterable[int]] = ..., reward_sum: _Optional[_Iterable[float]] = ..., reward_square_sum: _Optional[_Iterable[float]] = ..., traffic_share: _Optional[_Iterable[float]] = ..., mean_propensity: _Optional[_Iterable[float]] = ..., probability_best: _Optional[_Iterable[float]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("name", "context", "decision_id")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _personalization_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_personalization_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    context: _containers.MessageMap[str, _personalization_pb2.FeatureValue]
    decision_id: str
    def __init__(self, name: _Optional[str] = ..., context: _Optional[_Mapping[str, _personalization_pb2.FeatureValue]] = ..., decision_id: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("name", "version", "segment", "reason", "arms", "arm", "propensity", "at_ms", "served")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    segment: str
    reason: _personalization_pb2.Reason
    arms: _containers.RepeatedCompositeFieldContainer[ArmReasons]
    arm: str
    propensity: float
    at_ms: int
    served: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., segment: _Optional[str] = ..., reason: _Optional[_Union[_personalization_pb2.Reason, str]] = ..., arms: _Optional[_Iterable[_Union[ArmReasons, _Mapping]]] = ..., arm: _Optional[str] = ..., propensity: _Optional[float] = ..., at_ms: _Optional[int] = ..., served: _Optional[str] = ...) -> None: ...

class ArmReasons(_message.Message):
    __slots__ = ("arm", "probability", "mean", "deviation", "base", "parts", "low", "high")
    ARM_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    DEVIATION_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    arm: str
    probability: float
    mean: float
    deviation: float
    base: float
    parts: _containers.RepeatedCompositeFieldContainer[ReasonPart]
    low: float
    high: float
    def __init__(self, arm: _Optional[str] = ..., probability: _Optional[float] = ..., mean: _Optional[float] = ..., deviation: _Optional[float] = ..., base: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[ReasonPart, _Mapping]]] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ReasonPart(_message.Message):
    __slots__ = ("features", "effect")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedScalarFieldContainer[str]
    effect: float
    def __init__(self, features: _Optional[_Iterable[str]] = ..., effect: _Optional[float] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("name", "limit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    limit: int
    def __init__(self, name: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[HistoryEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[HistoryEvent, _Mapping]]] = ...) -> None: ...

class HistoryEvent(_message.Message):
    __slots__ = ("at_ms", "by", "what", "experiment", "version", "detail", "config")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    by: str
    what: str
    experiment: str
    version: int
    detail: str
    config: str
    def __init__(self, at_ms: _Optional[int] = ..., by: _Optional[str] = ..., what: _Optional[str] = ..., experiment: _Optional[str] = ..., version: _Optional[int] = ..., detail: _Optional[str] = ..., config: _Optional[str] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("name", "policy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    name: str
    policy: str
    def __init__(self, name: _Optional[str] = ..., policy: _Optional[str] = ...) -> None: ...

class EvaluateResponse(_message.Message):
    __slots__ = ("algorithm", "support", "logged", "estimates", "left_out", "open_trials", "warnings", "approximate", "holdout_trials")
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_FIELD_NUMBER: _ClassVar[int]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    OPEN_TRIALS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    APPROXIMATE_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_TRIALS_FIELD_NUMBER: _ClassVar[int]
    algorithm: str
    support: PolicySupport
    logged: PolicyEstimate
    estimates: _containers.RepeatedCompositeFieldContainer[PolicyEstimate]
    left_out: _containers.RepeatedCompositeFieldContainer[LeftOut]
    open_trials: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    approximate: bool
    holdout_trials: int
    def __init__(self, algorithm: _Optional[str] = ..., support: _Optional[_Union[PolicySupport, _Mapping]] = ..., logged: _Optional[_Union[PolicyEstimate, _Mapping]] = ..., estimates: _Optional[_Iterable[_Union[PolicyEstimate, _Mapping]]] = ..., left_out: _Optional[_Iterable[_Union[LeftOut, _Mapping]]] = ..., open_trials: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., approximate: _Optional[bool] = ..., holdout_trials: _Optional[int] = ...) -> None: ...

class LeftOut(_message.Message):
    __slots__ = ("reason", "rows")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    rows: int
    def __init__(self, reason: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class PolicySupport(_message.Message):
    __slots__ = ("trials", "effective_trials", "largest_share", "mean_weight", "unsupported", "refused")
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TRIALS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_SHARE_FIELD_NUMBER: _ClassVar[int]
    MEAN_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    UNSUPPORTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    trials: int
    effective_trials: float
    largest_share: float
    mean_weight: float
    unsupported: float
    refused: str
    def __init__(self, trials: _Optional[int] = ..., effective_trials: _Optional[float] = ..., largest_share: _Optional[float] = ..., mean_weight: _Optional[float] = ..., unsupported: _Optional[float] = ..., refused: _Optional[str] = ...) -> None: ...

class PolicyEstimate(_message.Message):
    __slots__ = ("estimator", "value", "standard_error", "low", "high", "bootstrap_low", "bootstrap_high", "anytime_low", "anytime_high")
    ESTIMATOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAP_LOW_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAP_HIGH_FIELD_NUMBER: _ClassVar[int]
    ANYTIME_LOW_FIELD_NUMBER: _ClassVar[int]
    ANYTIME_HIGH_FIELD_NUMBER: _ClassVar[int]
    estimator: str
    value: float
    standard_error: float
    low: float
    high: float
    bootstrap_low: float
    bootstrap_high: float
    anytime_low: float
    anytime_high: float
    def __init__(self, estimator: _Optional[str] = ..., value: _Optional[float] = ..., standard_error: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., bootstrap_low: _Optional[float] = ..., bootstrap_high: _Optional[float] = ..., anytime_low: _Optional[float] = ..., anytime_high: _Optional[float] = ...) -> None: ...

class WarmStartRequest(_message.Message):
    __slots__ = ("name", "csv", "format", "dry_run", "undo")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CSV_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    UNDO_FIELD_NUMBER: _ClassVar[int]
    name: str
    csv: str
    format: CsvFormat
    dry_run: bool
    undo: bool
    def __init__(self, name: _Optional[str] = ..., csv: _Optional[str] = ..., format: _Optional[_Union[CsvFormat, _Mapping]] = ..., dry_run: _Optional[bool] = ..., undo: _Optional[bool] = ...) -> None: ...

class CsvFormat(_message.Message):
    __slots__ = ("delimiter", "decimal", "columns", "leave_out")
    class ColumnsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DELIMITER_FIELD_NUMBER: _ClassVar[int]
    DECIMAL_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    LEAVE_OUT_FIELD_NUMBER: _ClassVar[int]
    delimiter: str
    decimal: str
    columns: _containers.ScalarMap[str, str]
    leave_out: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, delimiter: _Optional[str] = ..., decimal: _Optional[str] = ..., columns: _Optional[_Mapping[str, str]] = ..., leave_out: _Optional[_Iterable[str]] = ...) -> None: ...

class WarmStartResponse(_message.Message):
    __slots__ = ("applied", "repeated", "rewarded", "unknown_values")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    REWARDED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_VALUES_FIELD_NUMBER: _ClassVar[int]
    applied: int
    repeated: int
    rewarded: int
    unknown_values: int
    def __init__(self, applied: _Optional[int] = ..., repeated: _Optional[int] = ..., rewarded: _Optional[int] = ..., unknown_values: _Optional[int] = ...) -> None: ...

class ReadLogRequest(_message.Message):
    __slots__ = ("name", "after")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    after: str
    def __init__(self, name: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class ReadLogResponse(_message.Message):
    __slots__ = ("columns", "rows")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[LogColumn]
    rows: _containers.RepeatedCompositeFieldContainer[LogRow]
    def __init__(self, columns: _Optional[_Iterable[_Union[LogColumn, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[LogRow, _Mapping]]] = ...) -> None: ...

class LogColumn(_message.Message):
    __slots__ = ("name", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ...) -> None: ...

class LogRow(_message.Message):
    __slots__ = ("entry", "logged_ms", "kind", "decision", "decided_ms", "version", "segment", "arm", "propensity", "unit", "bucket", "holdout", "deferred", "history", "fixed", "sticky", "subset", "metric", "old_total", "new_total", "exposes", "context", "x")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _personalization_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_personalization_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    class XEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    LOGGED_MS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    DECIDED_MS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_FIELD_NUMBER: _ClassVar[int]
    DEFERRED_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    STICKY_FIELD_NUMBER: _ClassVar[int]
    SUBSET_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    OLD_TOTAL_FIELD_NUMBER: _ClassVar[int]
    NEW_TOTAL_FIELD_NUMBER: _ClassVar[int]
    EXPOSES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    entry: str
    logged_ms: int
    kind: str
    decision: str
    decided_ms: int
    version: int
    segment: str
    arm: str
    propensity: float
    unit: int
    bucket: int
    holdout: bool
    deferred: bool
    history: bool
    fixed: bool
    sticky: bool
    subset: bool
    metric: str
    old_total: float
    new_total: float
    exposes: bool
    context: _containers.MessageMap[str, _personalization_pb2.FeatureValue]
    x: _containers.ScalarMap[str, float]
    def __init__(self, entry: _Optional[str] = ..., logged_ms: _Optional[int] = ..., kind: _Optional[str] = ..., decision: _Optional[str] = ..., decided_ms: _Optional[int] = ..., version: _Optional[int] = ..., segment: _Optional[str] = ..., arm: _Optional[str] = ..., propensity: _Optional[float] = ..., unit: _Optional[int] = ..., bucket: _Optional[int] = ..., holdout: _Optional[bool] = ..., deferred: _Optional[bool] = ..., history: _Optional[bool] = ..., fixed: _Optional[bool] = ..., sticky: _Optional[bool] = ..., subset: _Optional[bool] = ..., metric: _Optional[str] = ..., old_total: _Optional[float] = ..., new_total: _Optional[float] = ..., exposes: _Optional[bool] = ..., context: _Optional[_Mapping[str, _personalization_pb2.FeatureValue]] = ..., x: _Optional[_Mapping[str, float]] = ...) -> None: ...

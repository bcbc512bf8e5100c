import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_NORMAL: _ClassVar[Mode]
    MODE_PREVIEW: _ClassVar[Mode]
    MODE_UNCOUNTED: _ClassVar[Mode]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_POLICY: _ClassVar[Reason]
    REASON_HOLDOUT: _ClassVar[Reason]
    REASON_SEGMENT_DEFAULT: _ClassVar[Reason]
    REASON_NO_ELIGIBLE_ARM: _ClassVar[Reason]
    REASON_INACTIVE: _ClassVar[Reason]
    REASON_PREVIEW: _ClassVar[Reason]
    REASON_UNCOUNTED: _ClassVar[Reason]
    REASON_REPEATED: _ClassVar[Reason]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_APPLIED: _ClassVar[Outcome]
    OUTCOME_DUPLICATE: _ClassVar[Outcome]
    OUTCOME_LATE: _ClassVar[Outcome]
    OUTCOME_IGNORED: _ClassVar[Outcome]
    OUTCOME_RETRACTED: _ClassVar[Outcome]
    OUTCOME_TOO_SOON: _ClassVar[Outcome]
MODE_UNSPECIFIED: Mode
MODE_NORMAL: Mode
MODE_PREVIEW: Mode
MODE_UNCOUNTED: Mode
REASON_UNSPECIFIED: Reason
REASON_POLICY: Reason
REASON_HOLDOUT: Reason
REASON_SEGMENT_DEFAULT: Reason
REASON_NO_ELIGIBLE_ARM: Reason
REASON_INACTIVE: Reason
REASON_PREVIEW: Reason
REASON_UNCOUNTED: Reason
REASON_REPEATED: Reason
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_APPLIED: Outcome
OUTCOME_DUPLICATE: Outcome
OUTCOME_LATE: Outcome
OUTCOME_IGNORED: Outcome
OUTCOME_RETRACTED: Outcome
OUTCOME_TOO_SOON: Outcome

class FeatureValue(_message.Message):
    __slots__ = ("number", "text", "flag")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    number: float
    text: str
    flag: bool
    def __init__(self, number: _Optional[float] = ..., text: _Optional[str] = ..., flag: _Optional[bool] = ...) -> None: ...

class SelectRequest(_message.Message):
    __slots__ = ("experiment", "subject", "context", "arms", "previous_decision_id", "deferred", "mode")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FeatureValue, _Mapping]] = ...) -> None: ...
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    DEFERRED_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    subject: str
    context: _containers.MessageMap[str, FeatureValue]
    arms: _containers.RepeatedScalarFieldContainer[str]
    previous_decision_id: str
    deferred: bool
    mode: Mode
    def __init__(self, experiment: _Optional[str] = ..., subject: _Optional[str] = ..., context: _Optional[_Mapping[str, FeatureValue]] = ..., arms: _Optional[_Iterable[str]] = ..., previous_decision_id: _Optional[str] = ..., deferred: _Optional[bool] = ..., mode: _Optional[_Union[Mode, str]] = ...) -> None: ...

class SelectResponse(_message.Message):
    __slots__ = ("decision_id", "arm", "payload_json", "propensity", "segment", "holdout", "stale", "experiment_version", "reason")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    arm: str
    payload_json: str
    propensity: float
    segment: str
    holdout: bool
    stale: bool
    experiment_version: int
    reason: Reason
    def __init__(self, decision_id: _Optional[str] = ..., arm: _Optional[str] = ..., payload_json: _Optional[str] = ..., propensity: _Optional[float] = ..., segment: _Optional[str] = ..., holdout: _Optional[bool] = ..., stale: _Optional[bool] = ..., experiment_version: _Optional[int] = ..., reason: _Optional[_Union[Reason, str]] = ...) -> None: ...

class FeatureColumn(_message.Message):
    __slots__ = ("feature", "present", "numbers", "texts", "flags", "dictionary")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    DICTIONARY_FIELD_NUMBER: _ClassVar[int]
    feature: str
    present: bytes
    numbers: _containers.RepeatedScalarFieldContainer[float]
    texts: _containers.RepeatedScalarFieldContainer[int]
    flags: bytes
    dictionary: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, feature: _Optional[str] = ..., present: _Optional[bytes] = ..., numbers: _Optional[_Iterable[float]] = ..., texts: _Optional[_Iterable[int]] = ..., flags: _Optional[bytes] = ..., dictionary: _Optional[_Iterable[str]] = ...) -> None: ...

class SelectBatchRequest(_message.Message):
    __slots__ = ("experiment", "subjects", "context", "arms", "deferred", "mode", "freeze", "frozen")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    DEFERRED_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FREEZE_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    subjects: _containers.RepeatedScalarFieldContainer[str]
    context: _containers.RepeatedCompositeFieldContainer[FeatureColumn]
    arms: _containers.RepeatedScalarFieldContainer[str]
    deferred: bool
    mode: Mode
    freeze: bool
    frozen: bytes
    def __init__(self, experiment: _Optional[str] = ..., subjects: _Optional[_Iterable[str]] = ..., context: _Optional[_Iterable[_Union[FeatureColumn, _Mapping]]] = ..., arms: _Optional[_Iterable[str]] = ..., deferred: _Optional[bool] = ..., mode: _Optional[_Union[Mode, str]] = ..., freeze: _Optional[bool] = ..., frozen: _Optional[bytes] = ...) -> None: ...

class SelectBatchResponse(_message.Message):
    __slots__ = ("decision_ids", "arms", "arm_ids", "payloads_json", "propensities", "segments", "segment_ids", "reasons", "holdout", "stale", "experiment_version", "frozen")
    DECISION_IDS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    ARM_IDS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_JSON_FIELD_NUMBER: _ClassVar[int]
    PROPENSITIES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    decision_ids: _containers.RepeatedScalarFieldContainer[bytes]
    arms: _containers.RepeatedScalarFieldContainer[int]
    arm_ids: _containers.RepeatedScalarFieldContainer[str]
    payloads_json: _containers.RepeatedScalarFieldContainer[str]
    propensities: _containers.RepeatedScalarFieldContainer[float]
    segments: _containers.RepeatedScalarFieldContainer[int]
    segment_ids: _containers.RepeatedScalarFieldContainer[str]
    reasons: _containers.RepeatedScalarFieldContainer[Reason]
    holdout: bytes
    stale: bool
    experiment_version: int
    frozen: bytes
    def __init__(self, decision_ids: _Optional[_Iterable[bytes]] = ..., arms: _Optional[_Iterable[int]] = ..., arm_ids: _Optional[_Iterable[str]] = ..., payloads_json: _Optional[_Iterable[str]] = ..., propensities: _Optional[_Iterable[float]] = ..., segments: _Optional[_Iterable[int]] = ..., segment_ids: _Optional[_Iterable[str]] = ..., reasons: _Optional[_Iterable[_Union[Reason, str]]] = ..., holdout: _Optional[bytes] = ..., stale: _Optional[bool] = ..., experiment_version: _Optional[int] = ..., frozen: _Optional[bytes] = ...) -> None: ...

class ExposeRequest(_message.Message):
    __slots__ = ("decision_id", "decision")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    decision: bytes
    def __init__(self, decision_id: _Optional[str] = ..., decision: _Optional[bytes] = ...) -> None: ...

class ExposeResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ...) -> None: ...

class ExposeBatchRequest(_message.Message):
    __slots__ = ("exposures",)
    EXPOSURES_FIELD_NUMBER: _ClassVar[int]
    exposures: _containers.RepeatedCompositeFieldContainer[ExposeRequest]
    def __init__(self, exposures: _Optional[_Iterable[_Union[ExposeRequest, _Mapping]]] = ...) -> None: ...

class ExposeBatchResponse(_message.Message):
    __slots__ = ("results", "retry_delay")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RewardResult]
    retry_delay: _duration_pb2.Duration
    def __init__(self, results: _Optional[_Iterable[_Union[RewardResult, _Mapping]]] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RewardRequest(_message.Message):
    __slots__ = ("decision_id", "metric", "value", "event_id", "decision", "retract", "after_ms")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    RETRACT_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    metric: str
    value: float
    event_id: str
    decision: bytes
    retract: bool
    after_ms: int
    def __init__(self, decision_id: _Optional[str] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., event_id: _Optional[str] = ..., decision: _Optional[bytes] = ..., retract: _Optional[bool] = ..., after_ms: _Optional[int] = ...) -> None: ...

class RewardResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ...) -> None: ...

class RewardJourneyRequest(_message.Message):
    __slots__ = ("decision_ids", "metric", "value", "event_id")
    DECISION_IDS_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    decision_ids: _containers.RepeatedScalarFieldContainer[str]
    metric: str
    value: float
    event_id: str
    def __init__(self, decision_ids: _Optional[_Iterable[str]] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., event_id: _Optional[str] = ...) -> None: ...

class RewardJourneyResponse(_message.Message):
    __slots__ = ("values", "results", "retry_delay")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    results: _containers.RepeatedCompositeFieldContainer[RewardResult]
    retry_delay: _duration_pb2.Duration
    def __init__(self, values: _Optional[_Iterable[float]] = ..., results: _Optional[_Iterable[_Union[RewardResult, _Mapping]]] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamRewardsRequest(_message.Message):
    __slots__ = ("rewards", "sequence")
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    rewards: _containers.RepeatedCompositeFieldContainer[RewardRequest]
    sequence: int
    def __init__(self, rewards: _Optional[_Iterable[_Union[RewardRequest, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class RewardResult(_message.Message):
    __slots__ = ("outcome", "code", "message")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    code: int
    message: str
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class StreamRewardsResponse(_message.Message):
    __slots__ = ("results", "sequence", "retry_delay")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RewardResult]
    sequence: int
    retry_delay: _duration_pb2.Duration
    def __init__(self, results: _Optional[_Iterable[_Union[RewardResult, _Mapping]]] = ..., sequence: _Optional[int] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

"""POST /v1/select-batch: one experiment for up to 10,000 subjects, columns in and columns out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from service.errors import DeniedError, InvalidError
from service.experiment.compiled import Experiment
from service.experiment.features.column import Column
from service.http.handlers.backend import Backend
from service.http.handlers.choices import MODES, Name
from service.http.messages import Reply, Request, decode
from service.serving.batch import SUBJECTS, BatchDecision
from service.serving.personalizer import NAMES
from service.serving.subject import check_subjects
from service.serving.token import to_text

Value = float | str | bool | None
Kind = TypeVar("Kind", bound=np.generic)


class SelectBatch(msgspec.Struct, forbid_unknown_fields=True):
    """Many subjects of one experiment. A column of `context` has a value for each of them, or null; null is the same as
    leaving a field out.
    """

    experiment: Name
    subjects: Annotated[list[str], Meta(min_length=1, max_length=SUBJECTS)]
    context: Annotated[dict[str, list[Value]], Meta(max_length=256)] | None = None
    arms: Annotated[list[Name], Meta(max_length=1000)] | None = None
    deferred: bool | None = None
    mode: Literal["normal", "uncounted"] | None = None


class SelectedBatch(msgspec.Struct):
    """One element a subject in each list, in their order; `payloads` by arm."""

    decision_ids: list[str]
    arms: list[str]
    payloads: dict[str, msgspec.Raw]
    propensities: list[float]
    segments: list[str]
    holdout: list[bool]
    reasons: list[str]
    stale: bool
    experiment_version: int


_READ = msgspec.json.Decoder(SelectBatch)
_ENCODE = msgspec.json.Encoder().encode


class Batches:
    """Answers POST /v1/select-batch. Everybody is chosen for, or nobody."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def select(self, request: Request) -> Reply:
        """Raises LeverErrors. It takes as long as thousands of choices do: to be called on a thread that gives way."""
        if request.key.public:
            raise DeniedError("a public key chooses for one subject at a time, with /v1/select")
        use_cases = self._backend.working()
        asked = decode(_READ, request.body)
        check_subjects("subjects", asked.subjects)
        exp = self._backend.experiment(asked.experiment, request.key)
        columns = _columns(exp, asked.context or {}, len(asked.subjects))
        made = use_cases.select_batch(
            exp.name, asked.subjects, columns, asked.arms or (), bool(asked.deferred), MODES[asked.mode]
        )
        return Reply(200, _ENCODE(_told(made)))


def _told(made: BatchDecision) -> SelectedBatch:
    arms, segments = made.arm_ids, made.segment_ids
    payloads = {arm: msgspec.Raw(text.encode()) for arm, text in zip(arms, made.payloads, strict=True)}
    return SelectedBatch(
        [to_text(token) for token in made.tokens], [arms[arm] for arm in made.arms.tolist()], payloads, made.propensities.tolist(),
        [segments[segment] for segment in made.segments.tolist()], np.frombuffer(made.holdout, np.bool_).tolist(),
        [NAMES[reason] for reason in made.reasons.tolist()], made.stale, made.version,
    )  # fmt: skip


def _columns(exp: Experiment, context: Mapping[str, Sequence[Value]], n: int) -> dict[str, Column]:
    """The columns of the features that the experiment declares, as with a single choice. InvalidError."""
    columns = {}
    for name in exp.spec.features:
        values = context.get(name, ())
        if name in context and len(values) != n:
            raise InvalidError.field(f"context.{name}", f"has {len(values):,} values for {n:,} subjects")
        if any(value is not None for value in values):
            columns[name] = _column(name, values, n)
    return columns


def _column(name: str, values: Sequence[Value], n: int) -> Column:
    """One feature's values as arrays. InvalidError names the first that is of another kind than those before it."""
    given = [value for value in values if value is not None]
    kinds = {type(value) for value in given}
    if len(kinds) > 1:
        kind = type(given[0])
        at = next(place for place, value in enumerate(values) if value is not None and type(value) is not kind)
        raise InvalidError.field(f"context.{name}[{at}]", "must be of the same kind as those before it")
    present = None if len(given) == n else np.fromiter((value is not None for value in values), np.bool_, n)
    if str in kinds:
        codes = {text: code for code, text in enumerate(dict.fromkeys(cast("list[str]", given)))}
        texts = np.fromiter(map(codes.__getitem__, cast("list[str]", given)), np.int64, len(given))
        return Column(present=present, codes=_spread(texts, present), dictionary=tuple(codes))
    if bool in kinds:
        flags = np.fromiter(cast("list[bool]", given), np.bool_, len(given))
        return Column(present=present, flags=_spread(flags, present))
    numbers = np.fromiter(cast("list[float]", given), np.float64, len(given))
    return Column(present=present, numbers=_spread(numbers, present))


def _spread(given: NDArray[Kind], present: NDArray[np.bool_] | None) -> NDArray[Kind]:
    """The values at the places where there are any."""
    if present is None:
        return given
    whole = np.zeros(len(present), given.dtype)
    whole[present] = given
    return whole

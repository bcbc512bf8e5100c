"""lever.v1.ExperimentService: from messages to the use cases and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import grpc
import structlog

from bandits.ope import Estimate
from service.analysis.arm_effect import ArmEffect
from service.analysis.evaluation import Evaluation
from service.analysis.guardrails import GuardrailReport
from service.analysis.influence import Influence
from service.analysis.lift import BucketSums, Lift, SampleRatio
from service.analysis.report import ArmReport, Stop, Total
from service.errors import InvalidError, PreconditionError, UnavailableError
from service.experiment.compiled import Experiment
from service.experiment.exclusions import Excluded
from service.experiment.features.column import Value
from service.management.past import CHANGED, CREATED
from service.management.protocols import Experiments, Offline
from service.management.warm_start import Way
from service.pb.lever.v1 import experiment_pb2 as pb
from service.pb.lever.v1 import experiment_pb2_grpc as pb_grpc
from service.pb.lever.v1 import personalization_pb2 as decisions
from service.rpc.answers.arrival import arrival_message
from service.rpc.answers.exclusion import EXCLUDED, INCLUDED, exclusion_message, in_words
from service.rpc.answers.timeline import asked, history_event, timeline_message
from service.rpc.personalization import FEATURES, TEXT_BYTES, TOKEN_CHARS
from service.security.api_keys import HEADER, Access
from service.serving.explainer import ArmReasons, Reasons
from service.store.contract import Event
from service.text.csv_format import MOST_BYTES, Format

CONFIG_BYTES = 1 << 20
ANYONE = "anyone: no keys are asked for"
Reported = ArmReport | Lift | BucketSums | SampleRatio | Total | ArmEffect | Stop | GuardrailReport | Influence
HISTORY_USUAL = 100
HISTORY_MOST = 10_000


class ExperimentServicer(pb_grpc.ExperimentServiceServicer):
    """What marketers and their tools talk to."""

    def __init__(self, experiments: Experiments, offline: Offline | None = None, access: Access | None = None) -> None:
        """With `access` the log says by its name which API key changed something."""
        self._experiments = experiments
        self._offline_or_none = offline
        self._access = access
        self._log = structlog.get_logger("lever.experiments")

    def PutExperiment(
        self, request: pb.PutExperimentRequest, context: grpc.ServicerContext
    ) -> pb.PutExperimentResponse:
        """Create or update."""
        if not request.config:
            raise InvalidError.field("config", "must be given")
        if len(request.config) > CONFIG_BYTES:
            raise InvalidError.field("config", f"is longer than {CONFIG_BYTES:,} characters")
        experiment, changed = self._experiments.put(request.config, _expected(request), self._who(context))
        if changed:
            said = CHANGED if experiment.version > 1 else CREATED
            self._tell(said, experiment.name, context, experiment.version, f"state {experiment.state}")
        return pb.PutExperimentResponse(experiment=_experiment(experiment), changed=changed)

    def GetExperiment(
        self, request: pb.GetExperimentRequest, context: grpc.ServicerContext
    ) -> pb.GetExperimentResponse:
        """One experiment."""
        return pb.GetExperimentResponse(experiment=_experiment(self._experiments.get(_named(request.name))))

    def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: grpc.ServicerContext
    ) -> pb.ListExperimentsResponse:
        """All experiments."""
        return pb.ListExperimentsResponse(experiments=[_experiment(one) for one in self._experiments.list()])

    def DeleteExperiment(
        self, request: pb.DeleteExperimentRequest, context: grpc.ServicerContext
    ) -> pb.DeleteExperimentResponse:
        """Remove an experiment with all it has learned."""
        self._experiments.delete(_named(request.name), _expected(request))
        self._tell("deleted", request.name, context)
        return pb.DeleteExperimentResponse()

    def RestoreExperiment(
        self, request: pb.RestoreExperimentRequest, context: grpc.ServicerContext
    ) -> pb.RestoreExperimentResponse:
        """Bring back what the store has lost."""
        experiment = self._experiments.restore(_named(request.name))
        self._tell("restored", experiment.name, context, experiment.version)
        return pb.RestoreExperimentResponse(experiment=_experiment(experiment))

    def AcceptLoss(self, request: pb.AcceptLossRequest, context: grpc.ServicerContext) -> pb.AcceptLossResponse:
        """Forget what the store has lost."""
        self._experiments.accept_loss(_named(request.name))
        self._tell("given up as lost", request.name, context)
        return pb.AcceptLossResponse()

    def GetReport(self, request: pb.GetReportRequest, context: grpc.ServicerContext) -> pb.GetReportResponse:
        """What was shown and earned, and what that says of the arms."""
        report = self._experiments.report(_named(request.name))
        left_out = self._experiments.exclusions(report.name)
        return pb.GetReportResponse(
            name=report.name, version=report.version, algorithm=report.algorithm, metric=report.metric,
            log_id=report.log_id, stale=report.stale,
            segments=[
                pb.SegmentReport(
                    segment=segment.segment,
                    arms=[_arm(arm) for arm in segment.arms],
                    changes=[pb.Change(arm=c.arm, from_ms=c.from_ms, times=c.times) for c in segment.changes],
                    outage=pb.Outage(from_ms=segment.outage.from_ms, seen_ms=segment.outage.seen_ms)
                    if segment.outage else None,
                    served=segment.served, too_early=segment.too_early, totals=_totals(segment.totals),
                    stop=pb.Stop(**_fields(segment.stop)) if segment.stop else None,
                    attributes=_influences(segment.attributes),
                )
                for segment in report.segments
            ],
            headline=report.headline, exclusions=[exclusion_message(one) for one in left_out],
            lifts=[_lift(one) for one in report.lifts],
            totals=_totals(report.totals), guardrails=[pb.GuardrailReport(**_fields(one)) for one in report.guardrails],
            sample_ratio=pb.SampleRatio(**_fields(report.sample_ratio)) if report.sample_ratio else None,
            features=_influences(report.features), arrival=arrival_message(report.arrival),
        )  # fmt: skip

    def Evaluate(self, request: pb.EvaluateRequest, context: grpc.ServicerContext) -> pb.EvaluateResponse:
        """What another policy would have earned."""
        name = _named(request.name)
        return _evaluation(self._offline.evaluate(name, _text("policy", request.policy, CONFIG_BYTES)))

    def WarmStart(self, request: pb.WarmStartRequest, context: grpc.ServicerContext) -> pb.WarmStartResponse:
        """Append history, judge it, or take it back."""
        name = _named(request.name)
        if request.dry_run and request.undo:
            raise InvalidError.field("undo", "a dry run takes nothing back: set one of dry_run and undo")
        way = Way.JUDGE if request.dry_run else Way.UNDO if request.undo else Way.TEACH
        given = request.format
        form = Format(given.delimiter, given.decimal, dict(given.columns), tuple(given.leave_out))
        warmed = self._offline.warm_start(name, _text("csv", request.csv, MOST_BYTES), form, way)
        if way is not Way.JUDGE:
            said = "taught history" if way is Way.TEACH else "took history back"
            self._tell(said, name, context, detail=f"{warmed.applied:,} rows")
        return pb.WarmStartResponse(
            applied=warmed.applied, repeated=warmed.repeated, rewarded=warmed.rewarded, unknown_values=warmed.unknown
        )

    def GetTimeline(self, request: pb.GetTimelineRequest, context: grpc.ServicerContext) -> pb.GetTimelineResponse:
        """What happened when."""
        name = _named(request.name)
        return timeline_message(self._experiments.timeline(name, asked(request)), self._experiments.exclusions(name))

    def Exclude(self, request: pb.ExcludeRequest, context: grpc.ServicerContext) -> pb.ExcludeResponse:
        """Take data back."""
        what = Excluded(request.from_ms, request.to_ms, tuple(request.arms))
        made, one = self._experiments.exclude(_named(request.name), what, self._who(context))
        self._tell(EXCLUDED, made.name, context, made.version, in_words(one))
        return pb.ExcludeResponse(exclusion=exclusion_message(one))

    def Include(self, request: pb.IncludeRequest, context: grpc.ServicerContext) -> pb.IncludeResponse:
        """Give data back."""
        made, one = self._experiments.include(_named(request.name), request.number, self._who(context))
        self._tell(INCLUDED, made.name, context, made.version, in_words(one))
        return pb.IncludeResponse(exclusion=exclusion_message(one))

    def Explain(self, request: pb.ExplainRequest, context: grpc.ServicerContext) -> pb.ExplainResponse:
        """Why a visitor gets an arm."""
        _explainable(request)
        if request.decision_id:
            return _reasons(self._experiments.explain_decision(request.name, request.decision_id))
        return _reasons(self._experiments.explain(request.name, _context(request.context)))

    def GetHistory(self, request: pb.GetHistoryRequest, context: grpc.ServicerContext) -> pb.GetHistoryResponse:
        """Who changed what."""
        if request.limit > HISTORY_MOST:
            raise InvalidError.field("limit", f"must be at most {HISTORY_MOST:,}")
        found = self._experiments.history(request.name, request.limit or HISTORY_USUAL)
        return pb.GetHistoryResponse(events=[history_event(past.event, past.text) for past in found])

    def ReadLog(self, request: pb.ReadLogRequest, context: grpc.ServicerContext) -> Iterator[Any]:
        """The log as rows; messages as bytes already, so that nothing is done here that could be done elsewhere."""
        return self._offline.log(_named(request.name), request.after)

    def _tell(self, what: str, name: str, context: grpc.ServicerContext, version: int = 0, detail: str = "") -> None:
        """Log and note what was done to an experiment, and the name of the key it was done with."""
        by = self._who(context)
        said = {"version": version, "detail": detail}
        self._log.info(f"experiment {what}", experiment=name, by=by or ANYONE, **{k: v for k, v in said.items() if v})
        try:
            self._experiments.note(Event(what, by, name, version, detail))
        except UnavailableError as error:  # it is done, and its configuration says by whom
            self._log.warning("not in the history", experiment=name, what=what, error=str(error))

    def _who(self, context: grpc.ServicerContext) -> str:
        """Name of the caller's key; "" where no keys are asked for."""
        if self._access is None:
            return ""
        key = self._access.find(dict(context.invocation_metadata()).get(HEADER))  # type: ignore[arg-type]  # not -bin
        return key.name if key is not None else "a key that is gone"

    @property
    def _offline(self) -> Offline:
        if self._offline_or_none is None:
            raise PreconditionError("this server does not work on whole logs", "NO_OFFLINE")
        return self._offline_or_none


def _text(field: str, text: str, most: int) -> str:
    if not text:
        raise InvalidError.field(field, "must be given")
    if len(text) > most or len(text.encode()) > most:
        raise InvalidError.field(field, f"is longer than {most:,} bytes")
    return text


def _evaluation(found: Evaluation) -> pb.EvaluateResponse:
    support = found.support
    return pb.EvaluateResponse(
        algorithm=found.policy,
        support=pb.PolicySupport(
            trials=support.rows, effective_trials=support.ess, largest_share=support.share,
            mean_weight=support.mean_weight, unsupported=support.unsupported, refused=support.refused,
        ),
        logged=_estimate(found.logged) if found.logged is not None else None,
        estimates=[_estimate(one) for one in found.estimates],
        left_out=[pb.LeftOut(reason=why, rows=count) for why, count in found.left_out.items()],
        open_trials=found.open_rows, warnings=found.warnings, approximate=found.approximate, holdout_trials=found.held_rows,
    )  # fmt: skip


def _estimate(one: Estimate) -> pb.PolicyEstimate:
    return pb.PolicyEstimate(
        estimator=one.name, value=one.value, standard_error=one.error, low=one.low, high=one.high,
        bootstrap_low=one.boot_low, bootstrap_high=one.boot_high, anytime_low=one.any_low, anytime_high=one.any_high,
    )  # fmt: skip


def _named(name: str) -> str:
    if not name:
        raise InvalidError.field("name", "must be given")
    return name


def _expected(request: pb.PutExperimentRequest | pb.DeleteExperimentRequest) -> int | None:
    return request.expected_version if request.HasField("expected_version") else None


def _experiment(experiment: Experiment) -> pb.Experiment:
    return pb.Experiment(
        name=experiment.name, uid=experiment.uid, version=experiment.version, state=experiment.state,
        config=experiment.text, applied_at_ms=experiment.applied_at_ms, arms=[arm.id for arm in experiment.arms],
        algorithm=experiment.algorithm, warnings=experiment.warnings,
    )  # fmt: skip


def _arm(arm: ArmReport) -> pb.ArmReport:
    return pb.ArmReport(**_fields(arm) | {"metrics": _totals(arm.metrics), "effect": _effect(arm.effect)})


def _effect(one: ArmEffect | None) -> pb.ArmEffect | None:
    return pb.ArmEffect(**_fields(one)) if one is not None else None


def _totals(totals: tuple[Total, ...]) -> list[pb.Total]:
    return [pb.Total(**_fields(total)) for total in totals]


def _influences(influences: tuple[Influence, ...]) -> list[pb.Influence]:
    return [pb.Influence(**_fields(one)) for one in influences]


def _lift(lift: Lift) -> pb.Lift:
    named = _fields(lift)
    buckets = named.pop("buckets")
    return pb.Lift(**named, buckets=pb.BucketSums(**_fields(buckets)) if buckets else None)


def _fields(one: Reported) -> dict[str, Any]:
    """One name for one thing: a report's fields are the message's."""
    return {field.name: getattr(one, field.name) for field in fields(one)}


def _explainable(request: pb.ExplainRequest) -> None:
    """InvalidError unless a decision, or an experiment and a context, is what is asked of."""
    if request.decision_id and request.context:
        raise InvalidError.field("context", "must not be given with a decision_id, which holds its own")
    if not request.decision_id and not request.name:
        raise InvalidError.field("name", "must be given, or a decision_id")
    if len(request.decision_id) > TOKEN_CHARS:
        raise InvalidError.field("decision_id", f"is longer than {TOKEN_CHARS} characters")


def _context(values: Mapping[str, decisions.FeatureValue]) -> dict[str, Value]:
    """The features of a request. InvalidError names the one that has no value or is too long."""
    if len(values) > FEATURES:
        raise InvalidError.field("context", f"has more than {FEATURES} features")
    features: dict[str, Value] = {}
    for name, value in values.items():
        kind = value.WhichOneof("value")
        if kind is None:
            raise InvalidError.field(f"context.{name}", "has no value")
        if kind == "text" and len(value.text.encode()) > TEXT_BYTES:
            raise InvalidError.field(f"context.{name}", f"is longer than {TEXT_BYTES:,} bytes")
        features[name] = getattr(value, kind)
    return features


def _reasons(reasons: Reasons) -> pb.ExplainResponse:
    """As it goes over the wire."""
    return pb.ExplainResponse(
        name=reasons.experiment, version=reasons.version, segment=reasons.segment,
        reason=reasons.reason,  # type: ignore[arg-type]  # the numbers are those of the wire
        arms=[_arm_reasons(arm) for arm in reasons.arms], arm=reasons.arm, propensity=reasons.propensity, at_ms=reasons.at_ms,
        served=reasons.served,
    )  # fmt: skip


def _arm_reasons(arm: ArmReasons) -> pb.ArmReasons:
    parts = [pb.ReasonPart(features=part.features, effect=part.effect) for part in arm.parts]
    return pb.ArmReasons(
        arm=arm.arm,
        probability=arm.probability,
        mean=arm.mean,
        deviation=arm.deviation,
        base=arm.base,
        parts=parts,
        low=arm.low,
        high=arm.high,
    )

"""`lever select | expose | reward`: one visitor's story from a terminal."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, print_json
from service.cli.experiments import Name
from service.remote.plain import plain, word

if TYPE_CHECKING:
    from service.cli.connection import Client
    from service.pb.lever.v1 import personalization_pb2 as pb

Value = float | str | bool

# A decision id, like a negative value, may begin with a dash and is no option then.
ANY_ID = {"ignore_unknown_options": True}
Decision = Annotated[str, typer.Argument(metavar="DECISION_ID", help="The decision's id, as select printed it.")]

CONTEXT_HELP = "A feature of the context; KEY:=TEXT for text like 007."

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_FLAGS = {"true": True, "false": False}


class Mode(enum.StrEnum):
    """Whether the choice is a real one."""

    NORMAL = "normal"
    PREVIEW = "preview"
    UNCOUNTED = "uncounted"


def parse_context(pairs: list[str]) -> dict[str, Value]:
    """`key=value` tries number, then flag (true, false), then text; `key:=text` is text whatever it looks like.

    Raises typer.BadParameter for a pair without a key or `=`, and for a key given twice.
    """
    context: dict[str, Value] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        as_text = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not key=value", param_hint="--context")
        if key in context:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint="--context")
        context[key] = value if as_text else _guess(value)
    return context


def _guess(value: str) -> Value:
    if _NUMBER.fullmatch(value):
        return float(value)
    return _FLAGS.get(value.lower(), value)


def select(
    experiment: Name,
    subject: Annotated[str, typer.Argument(help="Who the choice is for.")],
    context: Annotated[
        list[str] | None, typer.Option("--context", "-c", metavar="KEY=VALUE", help=CONTEXT_HELP)
    ] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Choose only among these.")] = None,
    deferred: Annotated[
        bool, typer.Option("--deferred", help="The choice may never be shown: it counts once exposed.")
    ] = False,
    mode: Annotated[
        Mode, typer.Option(help="preview: show the one --arm; uncounted: for bots and without consent.")
    ] = Mode.NORMAL,
    previous: Annotated[str, typer.Option(metavar="DECISION_ID", help="An earlier decision to keep.")] = "",
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Choose an arm for a subject."""
    from service.pb.lever.v1 import personalization_pb2 as pb

    known = parse_context(context or [])
    request = pb.SelectRequest(
        experiment=experiment,
        subject=subject,
        context={key: feature(value) for key, value in known.items()},
        arms=arm or [],
        previous_decision_id=previous,
        deferred=deferred,
        mode=f"MODE_{mode.name}",
    )
    with connect(server) as client:
        answer = client.choices.Select(request, timeout=TIMEOUT_S)
        for said in doubts(client, experiment, known):
            typer.echo(f"warning: {said}", err=True)
    if answer.stale:
        typer.echo("The store is away: the choice comes from the last snapshot.", err=True)
    if as_json:
        print_json(plain(answer))
        return
    rows = {
        "arm": answer.arm,
        "payload": answer.payload_json,
        "propensity": f"{answer.propensity:.6g}",
        "segment": answer.segment,
        "reason": word("Reason", pb.Reason.Name(answer.reason)).lower().replace("_", " "),
        "version": str(answer.experiment_version),
        "decision": answer.decision_id,
    }
    # Not a table: a decision id must stay on one line to be copied.
    for name, text in rows.items():
        typer.echo(f"{name:<12}{text}")


def doubts(client: Client, experiment: str, context: dict[str, Value]) -> list[str]:
    """What of a context plays no part, a sentence each; nothing where the key may not read the experiment."""
    import grpc

    from service.errors import InvalidError
    from service.experiment.doubts import undeclared
    from service.experiment.parse import parse
    from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest

    if not context:
        return []
    try:
        found = client.experiments.GetExperiment(GetExperimentRequest(name=experiment), timeout=TIMEOUT_S)
        return undeclared(parse(found.experiment.config).features, context)
    except (grpc.RpcError, InvalidError):
        return []


def feature(value: Value) -> pb.FeatureValue:
    """As it goes over the wire."""
    from service.pb.lever.v1 import personalization_pb2 as pb

    if isinstance(value, bool):
        return pb.FeatureValue(flag=value)
    if isinstance(value, str):
        return pb.FeatureValue(text=value)
    return pb.FeatureValue(number=value)


def expose(decision_id: Decision, server: Server = LOCAL) -> None:
    """Report that a deferred decision was shown."""
    from service.pb.lever.v1 import personalization_pb2 as pb

    with connect(server) as client:
        answer = client.choices.Expose(pb.ExposeRequest(decision_id=decision_id), timeout=TIMEOUT_S)
    _say(pb.Outcome.Name(answer.outcome))


def reward(
    decision_id: Decision,
    value: Annotated[float | None, typer.Argument(help="What it earned; 1 if left out.")] = None,
    metric: Annotated[str, typer.Option(help="Id of the metric; the primary one if left out.")] = "",
    event: Annotated[str, typer.Option(help="Id of the event, so that a retry is not counted as a second one.")] = "",
    retract: Annotated[bool, typer.Option("--retract", help="Take this event back.")] = False,
    server: Server = LOCAL,
) -> None:
    """Report what a decision earned, or take back what was reported."""
    from service.pb.lever.v1 import personalization_pb2 as pb

    request = pb.RewardRequest(decision_id=decision_id, metric=metric, value=value, event_id=event, retract=retract)
    with connect(server) as client:
        answer = client.choices.Reward(request, timeout=TIMEOUT_S)
    _say(pb.Outcome.Name(answer.outcome))


def journey(
    decision_ids: Annotated[list[str], typer.Argument(metavar="DECISION_ID...", help="The decisions that led to it.")],
    event: Annotated[str, typer.Option(help="Id of the conversion: a retry with it counts nothing twice.")],
    value: Annotated[float | None, typer.Option(help="What it is worth; 1 if left out.")] = None,
    metric: Annotated[str, typer.Option(help="Id of the metric; each experiment's primary one if left out.")] = "",
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Share what one conversion is worth among the decisions that led to it."""
    from service.pb.lever.v1 import personalization_pb2 as pb

    request = pb.RewardJourneyRequest(decision_ids=decision_ids, metric=metric, value=value, event_id=event)
    with connect(server) as client:
        answer = client.choices.RewardJourney(request, timeout=TIMEOUT_S)
    if as_json:
        print_json(plain(answer))
    else:
        for share, result in zip(answer.values, answer.results, strict=True):
            name = word("Outcome", pb.Outcome.Name(result.outcome))
            said = result.message or (_OUTCOMES.get(name, name.lower()) if share else "no share by the metric's rule")
            typer.echo(f"{share:<12.10g}{said}")
    if any(result.code for result in answer.results):
        raise typer.Exit(1)


_OUTCOMES = {
    "APPLIED": "applied",
    "DUPLICATE": "duplicate: it had been counted before",
    "LATE": "late: logged, not counted",
    "IGNORED": "ignored: the decision is not a trial",
    "TOO_SOON": "too soon: within the metric's min_delay, not counted",
    "RETRACTED": "retracted: it was taken back before, not counted",
}


def _say(outcome: str) -> None:
    name = word("Outcome", outcome)
    typer.echo(_OUTCOMES.get(name, name.lower()))

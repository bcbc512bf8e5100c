"""`lever explain`: why a visitor gets an arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, console, print_json
from service.cli.decisions import CONTEXT_HELP, doubts, feature, parse_context
from service.cli.experiments import Name
from service.remote.plain import plain, word
from service.remote.words import moment, number

if TYPE_CHECKING:
    from rich.table import Table

    from service.pb.lever.v1.experiment_pb2 import ArmReasons, ExplainResponse

_PARTS = 4  # of an arm that are shown; the rest are summed up


def explain(
    experiment: Name,
    decision: Annotated[str, typer.Argument(metavar="[DECISION_ID]", help="A decision that was made.")] = "",
    # No short name: a decision id may begin with a dash and have any letter after it.
    context: Annotated[list[str] | None, typer.Option("--context", metavar="KEY=VALUE", help=CONTEXT_HELP)] = None,
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Explain why a visitor gets an arm: of a decision that was made, or of a context (--context) that may come.

    For each arm: its probability, what it is expected to earn from this visitor, and what each feature adds to or takes
    from what it earns on average. What is believed is what is believed now.
    """
    from service.pb.lever.v1.experiment_pb2 import ExplainRequest

    known = parse_context(context or [])
    features = {key: feature(value) for key, value in known.items()}
    request = ExplainRequest(name=experiment, decision_id=decision, context=features)
    with connect(server) as client:
        answer = client.experiments.Explain(request, timeout=TIMEOUT_S)
        for said in doubts(client, experiment, known):
            typer.echo(f"warning: {said}", err=True)
    if as_json:
        print_json(plain(answer))
        return
    typer.echo(_said(answer))
    if answer.arms:
        console().print(_table(answer))


def _said(answer: ExplainResponse) -> str:
    from service.pb.lever.v1.personalization_pb2 import Reason

    reason = word("Reason", Reason.Name(answer.reason)).lower().replace("_", " ")
    where = f"{answer.name}  segment {answer.segment}  reason: {reason}"
    if answer.served:
        where += f"\neverybody here is served {answer.served} now, nothing is drawn"
    if not answer.arm:
        return where
    return f"{where}\n{answer.arm} was chosen on {moment(answer.at_ms)} with probability {answer.propensity:.3g}"


def _table(answer: ExplainResponse) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("arm")
    for heading in ("probability", "expected", "95 %", "on average"):
        table.add_column(heading, justify="right")
    table.add_column("because of", overflow="fold")
    for arm in answer.arms:
        odds = f"{arm.probability:.3f}" if arm.HasField("probability") else ""
        table.add_row(arm.arm, odds, *_numbers(arm), _why(arm))
    return table


def _numbers(arm: ArmReasons) -> tuple[str, str, str]:
    if not arm.HasField("mean"):
        return "", "", ""
    return number(arm.mean), f"{number(arm.low)} to {number(arm.high)}", number(arm.base)


def _why(arm: ArmReasons) -> str:
    parts = [(" with ".join(part.features) or "the rest", part.effect) for part in arm.parts]
    shown, rest = parts[:_PARTS], sum(effect for _, effect in parts[_PARTS:])
    if number(rest) != "0":
        shown.append(("the rest", rest))
    return ", ".join(f"{name} {'+' if effect > 0 else '-'}{number(abs(effect))}" for name, effect in shown)

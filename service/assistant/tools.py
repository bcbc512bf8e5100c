"""The tools: each is one call of the server, answered as its JSON; what is wrong is said so that it can be mended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import grpc
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from service.errors import InvalidError
from service.pb.lever.v1 import experiment_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2 import FeatureValue
from service.remote.fault import fault
from service.remote.plain import plain

TIMEOUT_S = 10.0
EVALUATE_S = 660.0  # the server reads its whole log
_SIMULATED = 50  # experiments of a plan

Days = Annotated[int, Field(ge=1, le=120)]
Limit = Annotated[int, Field(ge=1, le=1000)]


class Reads:
    """Looks at experiments and changes nothing. Safe for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._lever = ExperimentServiceStub(channel)

    def list_experiments(self) -> list[dict[str, Any]]:
        """List all experiments: name, state, algorithm, arms, metrics, version and warnings. Begin here."""
        with _said():
            answer = self._lever.ListExperiments(pb.ListExperimentsRequest(), timeout=TIMEOUT_S)
        return [{key: value for key, value in plain(one).items() if key != "config"} for one in answer.experiments]

    def show_experiment(self, experiment: str) -> dict[str, Any]:
        """Show an experiment with its configuration, the YAML or JSON text in `config`, as it was applied."""
        return plain(self._experiment(experiment))

    def report(self, experiment: str) -> dict[str, Any]:
        """Report what an experiment has shown and earned.

        `headline` says in one sentence what the policy is worth; `lifts` has policy over holdout with intervals that hold at
        any time; each of `segments` has its arms with trials, mean, expected value (posterior_mean) with a 95 % interval,
        probability_best and expected_loss, an `outage` where next to nothing is earned, and in `stop` whether the leader may
        be shown for good. null: not known, or too early to say. Quote these numbers; do not compute others from small samples.
        """
        with _said():
            answer = plain(self._lever.GetReport(pb.GetReportRequest(name=experiment), timeout=TIMEOUT_S))
        for lift in answer["lifts"]:
            lift.pop("buckets")  # 1,024 numbers that nobody reads
        return answer

    def explain(
        self, experiment: str, context: dict[str, bool | float | str] | None = None, decision_id: str = ""
    ) -> dict[str, Any]:
        """Explain why a visitor gets an arm: of a decision that was made, or of a context by feature name that may come.

        For each arm: its probability, what it is expected to earn from this visitor, and what each feature adds to that.
        """
        features = {name: _feature(value) for name, value in (context or {}).items()}
        request = pb.ExplainRequest(name=experiment, decision_id=decision_id, context=features)
        with _said():
            return plain(self._lever.Explain(request, timeout=TIMEOUT_S))

    def history(self, experiment: str = "", limit: Limit = 20) -> list[dict[str, Any]]:
        """Tell who changed what and when, the newest first: of one experiment, or of all. Configurations are in `config`."""
        with _said():
            request = pb.GetHistoryRequest(name=experiment, limit=limit)
            return [plain(event) for event in self._lever.GetHistory(request, timeout=TIMEOUT_S).events]

    def evaluate(self, experiment: str, policy: str) -> dict[str, Any]:
        """Estimate from the log what another policy would have earned, without showing it to anybody.

        `policy` is an algorithm such as `uniform`, `beta`, or YAML such as `{name: fixed, weights: {an-arm: 1}}`.
        """
        with _said():
            request = pb.EvaluateRequest(name=experiment, policy=policy)
            return plain(self._lever.Evaluate(request, timeout=EVALUATE_S))

    def plan(self, experiment: str, visits: float, rate: float, effect: float, days: Days = 30) -> dict[str, Any]:
        """Simulate how long it takes until the report can say what the policy is worth.

        `visits`: trials a day; `rate`: share of the default arm's trials with a reward; `effect`: how much more the best arm
        earns, 0.1 is a tenth more; `days`: so far ahead. Answers with a sentence and the share decided by day.
        """
        from service.analysis.plan import Expected
        from service.analysis.plan import plan as run
        from service.experiment.compiled import build, read
        from service.experiment.parse import parse

        text = self._experiment(experiment).config
        with _said():
            one = read(build(parse(text), text, "0" * 16, 0, None))
            found = run(one, Expected(visits, rate, effect, days, one.holdout_share, _SIMULATED))
        return {
            "sentence": found.sentence(), "half_days": found.half, "most_days": found.most, "decided": found.decided,
            "wrong": found.wrong,
        }  # fmt: skip

    def _experiment(self, name: str) -> pb.Experiment:
        with _said():
            return self._lever.GetExperiment(pb.GetExperimentRequest(name=name), timeout=TIMEOUT_S).experiment


class Writes:
    """Changes experiments. Who did it stands in the history, by the name of the API key."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._lever = ExperimentServiceStub(channel)

    def apply(self, config: str, expected_version: int | None = None) -> dict[str, Any]:
        """Create or update an experiment from its whole configuration as YAML or JSON. Nothing that was learned is forgotten.

        `expected_version`: refuse if the experiment is at another version by now; 0: create it.
        """
        return self._put(config, expected_version)

    def pause(self, experiment: str) -> dict[str, Any]:
        """Pause an experiment: everybody is served the default arm until it is resumed."""
        return self._state(experiment, "paused")

    def resume(self, experiment: str) -> dict[str, Any]:
        """Make a paused experiment active again."""
        return self._state(experiment, "active")

    def _state(self, name: str, state: str) -> dict[str, Any]:
        from service.text.edit import with_value

        with _said():
            now = self._lever.GetExperiment(pb.GetExperimentRequest(name=name), timeout=TIMEOUT_S).experiment
            if now.state not in ("active", "paused"):
                raise ToolError(f"{name} is {now.state}: only what is active or paused is paused or resumed")
            return self._put(with_value(now.config, "state", state, "experiment"), now.version)

    def _put(self, config: str, expected: int | None) -> dict[str, Any]:
        with _said():
            request = pb.PutExperimentRequest(config=config, expected_version=expected)
            return plain(self._lever.PutExperiment(request, timeout=TIMEOUT_S))


@contextmanager
def _said() -> Iterator[None]:
    """What goes wrong inside is told to the assistant, field by field."""
    try:
        yield
    except grpc.RpcError as error:
        what = fault(error)
        raise ToolError("\n".join(map(str, what.violations)) or f"{what.code}: {what.message}") from None
    except InvalidError as error:
        raise ToolError("\n".join(map(str, error.violations))) from None


def _feature(value: bool | float | str) -> FeatureValue:
    if isinstance(value, bool):
        return FeatureValue(flag=value)
    return FeatureValue(text=value) if isinstance(value, str) else FeatureValue(number=value)

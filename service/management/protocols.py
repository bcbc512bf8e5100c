"""What may be asked of whole experiments, whatever protocol it comes by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from service.analysis.evaluation import Evaluation
from service.analysis.report import Report
from service.analysis.timeline import Asked, Timeline
from service.experiment.compiled import Experiment
from service.experiment.exclusions import Excluded
from service.experiment.features.column import Value
from service.management.exclusions import Exclusion
from service.management.past import Past
from service.management.warm_start import Warmed, Way
from service.serving.explainer import Reasons
from service.store.contract import Event
from service.text.csv_format import Format


class Experiments(Protocol):
    """Experiments as people see them. Writes return once they are in force here.

    They raise InvalidError, NotFoundError, ConflictError and UnavailableError.
    """

    def put(self, text: str, expected: int | None, by: str = "") -> tuple[Experiment, bool]:
        """Create or update from YAML or JSON, written `by` a key of this name; true if that changed anything.

        `expected` is the version to be replaced (0: none may exist); None writes over whatever stands there.
        InvalidError names lines.
        """

    def get(self, name: str) -> Experiment:
        """One experiment."""

    def list(self) -> list[Experiment]:
        """All experiments, by name."""

    def delete(self, name: str, expected: int | None) -> None:
        """Delete an experiment and all it has learned."""

    def restore(self, name: str) -> Experiment:
        """Write back, from what this server holds, an experiment that the store has lost; under its old uid.

        Claims are gone, so decisions made before now are over: their rewards are LATE. PreconditionError if it is
        not lost; ConflictError if another server was first or the name is taken.
        """

    def accept_loss(self, name: str) -> None:
        """Forget an experiment that the store has lost, on all servers. PreconditionError if it is not lost."""

    def report(self, name: str) -> Report:
        """What the experiment has shown, earned and learned."""

    def timeline(self, name: str, asked: Asked) -> Timeline:
        """What happened when, with what people changed meanwhile."""

    def exclude(self, name: str, what: Excluded, by: str = "") -> tuple[Experiment, Exclusion]:
        """Let decisions of a time and of some arms no longer count. InvalidError where the log no longer has them."""

    def include(self, name: str, number: int, by: str = "") -> tuple[Experiment, Exclusion]:
        """Take an exclusion back."""

    def exclusions(self, name: str) -> Sequence[Exclusion]:
        """Those in force."""

    def explain(self, name: str, context: Mapping[str, Value]) -> Reasons:
        """Why a visitor of this context would get what it would."""

    def explain_decision(self, name: str, decision_id: str) -> Reasons:
        """Why a decision fell as it did; `name` "" for whatever experiment it is of."""

    def note(self, event: Event) -> None:
        """Keep what somebody did for `history`."""

    def history(self, name: str, limit: int) -> Sequence[Past]:
        """What was done to an experiment, deleted ones too, or ("") to all and to keys; the newest first.

        The configurations of an experiment that exists come with their texts, as far as they are kept.
        """


class Offline(Protocol):
    """What needs the whole log. All raise NotFoundError, InvalidError, PreconditionError, ExhaustedError and UnavailableError."""

    def evaluate(self, name: str, policy: str) -> Evaluation:
        """What the policy that the text describes would have earned on the experiment's log."""

    def warm_start(self, name: str, text: str, form: Format, way: Way = Way.TEACH) -> Warmed:
        """Append a CSV file of history, judge it, or take it back; all is judged before anything is written."""

    def log(self, name: str, after: str) -> Iterator[bytes]:
        """The log as messages of ReadLog, serialised; only entries after the one that is named, if one is."""

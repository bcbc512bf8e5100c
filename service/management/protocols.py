"""What may be asked of whole experiments, whatever protocol it comes by."""

from __future__ import annotations

from typing import Protocol

from service.analysis.evaluation import Evaluation
from service.analysis.report import Report
from service.experiment.compiled import Experiment
from service.management.warm_start import Warmed, Way


class Experiments(Protocol):
    """Experiments as people see them. Writes return once they are in force here.

    They raise InvalidError, NotFoundError, ConflictError and UnavailableError.
    """

    def put(self, text: str, expected: int | None) -> tuple[Experiment, bool]:
        """Create or update from YAML or JSON; true if that changed anything.

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


class Offline(Protocol):
    """What needs the whole log. Both raise NotFoundError, InvalidError, PreconditionError, ExhaustedError and UnavailableError."""

    def evaluate(self, name: str, policy: str) -> Evaluation:
        """What the policy that the text describes would have earned on the experiment's log."""

    def warm_start(self, name: str, text: str, way: Way = Way.TEACH) -> Warmed:
        """Append a CSV file of history, judge it, or take it back; all is judged before anything is written."""

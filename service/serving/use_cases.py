"""What callers can ask for, whatever protocol they speak, and who answers it in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from service.experiment.features.column import Column, Value
from service.serving.batch import BatchDecision, select_batch
from service.serving.journey import Credited, Journey, Journeys
from service.serving.personalizer import Decision, Mode, Personalizer
from service.serving.rewarder import Event, RewardAnswer, Rewarder


class UseCases(Protocol):
    """The seam between the protocols (gRPC, HTTP) and the service. Safe for any number of threads."""

    def select(
        self,
        experiment: str,
        subject: str,
        context: Mapping[str, Value],
        arms: Sequence[str],
        previous: str,
        deferred: bool,
        mode: Mode,
    ) -> Decision:
        """Choose one arm for one subject. Raises NotFoundError, InvalidError, PreconditionError."""

    def select_batch(
        self,
        experiment: str,
        subjects: Sequence[str],
        columns: Mapping[str, Column],
        arms: Sequence[str],
        deferred: bool,
        mode: Mode,
        frozen: bytes | None = None,
    ) -> BatchDecision:
        """Choose for many subjects, from a frozen snapshot if one is given; see batch.select_batch."""

    def reward(self, events: Sequence[Event]) -> list[RewardAnswer]:
        """One answer for each event, in order; what is wrong with one does not hinder the others."""

    def journey(self, journey: Journey) -> list[Credited]:
        """A share of a conversion for each decision that led to it. Raises LeverErrors, and has applied nothing then."""

    def expose(self, decisions: Sequence[bytes], client: bool = False) -> list[RewardAnswer]:
        """Make deferred decisions trials, an answer for each; with `client` only such as a browser key may speak of."""


class LocalUseCases:
    """UseCases by this process's own parts. Bound methods, not calls of calls: Select is the hot path."""

    def __init__(self, personalizer: Personalizer, rewarder: Rewarder, journeys: Journeys) -> None:
        self._personalizer = personalizer
        self.select = personalizer.select
        self.reward = rewarder.reward
        self.expose = rewarder.expose
        self.journey = journeys.reward

    def select_batch(
        self,
        experiment: str,
        subjects: Sequence[str],
        columns: Mapping[str, Column],
        arms: Sequence[str],
        deferred: bool,
        mode: Mode,
        frozen: bytes | None = None,
    ) -> BatchDecision:
        """UseCases.select_batch."""
        return select_batch(self._personalizer, experiment, subjects, columns, arms, deferred, mode, frozen)

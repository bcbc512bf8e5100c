"""What the handlers work with: the use cases and the published experiments, once they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.errors import InvalidError, NotFoundError, UnavailableError
from service.experiment.compiled import Experiment
from service.experiment.features.column import Value
from service.security.api_keys import Key
from service.serving.personalizer import Decision, Mode
from service.serving.published import Published
from service.serving.store_clock import StoreClock
from service.serving.use_cases import UseCases

TOKEN_CHARS = 1024


@dataclass(slots=True)
class Backend:
    """The working parts. `use_cases` is None until the store gave the keys; `open` once there is something to choose from."""

    use_cases: UseCases | None = None
    directory: Published = field(default_factory=Published)
    clock: StoreClock = field(default_factory=StoreClock)
    open: bool = False
    why: str = "starting"

    def working(self) -> UseCases:
        """The use cases, or UnavailableError with the reason why not yet."""
        if not self.open or self.use_cases is None:
            raise UnavailableError(f"not ready: {self.why}", "NOT_READY")
        return self.use_cases

    def experiment(self, name: str, key: Key) -> Experiment:
        """The experiment of this name. NotFoundError, too where a public key may not know of it."""
        exp = self.directory.named(name).experiment
        if key.public and not exp.spec.client:
            raise NotFoundError("experiment", f"experiment {name!r} does not exist")
        return exp

    def for_clients(self) -> list[Experiment]:
        """Experiments marked `client: true`, by name."""
        snapshots = self.directory.by_name
        return [snapshots[name].experiment for name in sorted(snapshots) if snapshots[name].experiment.spec.client]

    def choose(
        self,
        exp: Experiment,
        subject: str,
        context: Mapping[str, Any],
        previous: str = "",
        deferred: bool = False,
        mode: Mode = Mode.NORMAL,
        arms: tuple[str, ...] = (),
    ) -> Decision:
        """One choice. Of the context the experiment's own features are read; a page's context serves all of them."""
        features = declared(exp, context)
        if len(previous) > TOKEN_CHARS:
            raise InvalidError.field("previous_decision_id", f"is longer than {TOKEN_CHARS} characters")
        return self.working().select(exp.name, subject, features, arms, previous, deferred, mode)


def declared(exp: Experiment, context: Mapping[str, Any]) -> dict[str, Value]:
    """What the context has of the features that the experiment declares."""
    features: dict[str, Value] = {}
    for name in exp.spec.features:
        value = context.get(name)
        if value is not None:
            features[name] = value
    return features

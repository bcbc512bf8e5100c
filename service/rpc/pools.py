"""What calls pass that are not let in, or run at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from service.errors import UnavailableError

P = ParamSpec("P")
T = TypeVar("T")


class Here(futures.ThreadPoolExecutor):
    """No threads: runs what it is given on grpc's own. For refusals, where the handing over would cost the most."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Run it now; it must not wait for anything."""
        done: futures.Future[T] = futures.Future()
        done.set_result(call(*args, **kwargs))
        return done


@dataclass(slots=True)
class Gate:
    """Whether calls that need the kernels and the snapshots are let in; `why` tells those who are not."""

    open: bool = False
    why: str = "starting"

    def check(self) -> None:
        """Raise UnavailableError while the gate is shut."""
        if not self.open:
            raise self.shut()

    def shut(self) -> UnavailableError:
        """What those hear who are not let in."""
        return UnavailableError(f"not ready: {self.why}", "NOT_READY")

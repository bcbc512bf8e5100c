"""What callers can ask for, whatever protocol they speak: the use cases as one typed seam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.serving.batch import BatchDecision
from service.serving.personalizer import Decision
from service.serving.rewarder import Answer
from service.store.contract import Outcome


@dataclass(frozen=True, slots=True)
class UseCases:
    """What is offered over gRPC and HTTP; see Personalizer.select, batch.select_batch and Rewarder."""

    select: Callable[..., Decision]
    select_batch: Callable[..., BatchDecision]
    reward: Callable[..., list[Answer]]
    expose: Callable[..., Outcome]

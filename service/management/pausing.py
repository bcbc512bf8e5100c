"""An arm that a guardrail paused is written into the experiment's file, and stays there while the file says nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from service.experiment.compiled import Experiment
from service.experiment.spec import Spec
from service.text.edit import with_entry


def paused_text(text: str, arms: Iterable[str]) -> str:
    """The file with these arms paused."""
    for arm in arms:
        text = with_entry(text, "arms", arm, "state", "paused")
    return text


def still_paused(text: str, spec: Spec, current: Experiment | None) -> tuple[str, Spec]:
    """A file and what it says, with the arms paused that a guardrail has paused and whose state it does not give.

    Somebody who applies a file anew, as a server does at its start, has not said that the arm may be shown again. What says
    so is `state: active`, or making it the default arm or the winner. Lines of `spec` stay those of the file.
    """
    held = current.pauses.paused if current is not None else {}
    silent = [
        arm.id
        for place, arm in enumerate(spec.arms)
        if arm.id in held and f"arms[{place}].state" not in spec.lines and arm.id not in (spec.default_arm, spec.winner)
    ]
    arms = tuple(msgspec.structs.replace(arm, state="paused") if arm.id in silent else arm for arm in spec.arms)
    return paused_text(text, silent), msgspec.structs.replace(spec, arms=arms)

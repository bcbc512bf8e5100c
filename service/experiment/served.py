"""What everybody may be served must be there: the default arm, and the winner of an experiment that has ended."""

from __future__ import annotations

from service.errors import Violation
from service.experiment.spec import ArmSpec, Spec
from service.text.fields import nearest

LEARNED = "learned"  # as `winner`: every segment's own, as it was learned


def unservable(spec: Spec, now_ms: int) -> list[Violation]:
    """Why the default arm or the winner could not be served now or one day, whatever else is decided."""
    arms = {arm.id: arm for arm in spec.arms}
    found = []
    for key, name, role in (("default_arm", spec.default_arm, "default arm"), ("winner", spec.winner, "winner")):
        why = _why(arms[name], now_ms) if name in arms else None
        if why is not None:
            message = f'the arm "{name}" {why}; the {role} must always be there'
            found.append(Violation(key, message, nearest(spec.lines, key)))
    return found


def winner_learned(spec: Spec) -> bool:
    """Whether each segment's own winner is served; an arm of that very name is meant before."""
    return spec.winner == LEARNED and all(arm.id != LEARNED for arm in spec.arms)


def _why(arm: ArmSpec, now_ms: int) -> str | None:
    if arm.state != "active":
        return f"is {arm.state}"
    if arm.end_ms is not None:
        return "ended by its date" if arm.end_ms <= now_ms else "will end by its date"
    if arm.start_ms is not None and arm.start_ms > now_ms:
        return "has not started yet"
    return None

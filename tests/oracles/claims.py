"""What rewards and retractions of one decision and metric come to, from the words of docs/http.md alone.

It keeps all that was accepted, in the order in which it arrived, and works everything out anew each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Story:
    """One decision and metric. `rule` is first, sum, last or max; `floored`: refunds stop at 0."""

    rule: str
    floored: bool = False
    arrived: list[tuple[bytes, int]] = field(default_factory=list)
    back: set[bytes] = field(default_factory=set)

    def standing(self) -> list[tuple[bytes, int]]:
        """The rewards that count."""
        return [(event, value) for event, value in self.arrived if event not in self.back]

    def total(self) -> int:
        """What they come to."""
        values = [value for _, value in self.standing()]
        if self.rule == "sum":
            total = 0
            for value in values:
                total += value
                if self.floored and value < 0 and total < 0:
                    total = 0
            return total
        if not values:
            return 0
        return {"first": values[0], "last": values[-1], "max": max(values)}[self.rule]

    def reward(self, event: bytes, value: int) -> str:
        """What a reward is answered."""
        if event in self.back:
            return "RETRACTED"
        if any(event == known for known, _ in self.standing()) or (self.rule == "first" and self.standing()):
            return "DUPLICATE"
        before = self.total()
        self.arrived.append((event, value))
        if self.rule == "sum" and self.floored and value < 0 and self.total() == before:
            self.arrived.pop()
            return "NOTHING_TO_LOWER"
        return "APPLIED"

    def retract(self, event: bytes) -> str:
        """What a retraction is answered."""
        if event in self.back:
            return "DUPLICATE"
        if self.rule == "first" and self.standing() and b"" in (event, self.standing()[0][0]):
            # One of the two has no name, and there is but one reward.
            counted = self.standing()[0][0]
            self.arrived = [one for one in self.arrived if one[0] != counted]
            if counted:
                self.back.add(counted)
        self.back.add(event)
        return "APPLIED"

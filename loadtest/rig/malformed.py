"""Input that nobody should send: broken decision ids, messages and files, made from good ones by a seeded generator."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.pb.lever.v1 import experiment_pb2 as xpb
from service.pb.lever.v1 import personalization_pb2 as pb

_CHOICES = "/lever.v1.PersonalizationService/"
_EXPERIMENTS = "/lever.v1.ExperimentService/"
_NUMBERS = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, 2.0**63, -0.0, 0.5, -1.0)
_WORDS = (
    "",
    "\0",
    "\ud7ff",
    "x" * 600,
    "é" * 300,
    "-",
    "__proto__",
    "%s%n",
    "../../etc",
    "{}",
    "nan",
    "\U0001f600" * 200,
)
_NEVER = 2**40  # a version no experiment has: what is well-formed by chance still changes nothing


@dataclass(frozen=True)
class Maker:
    """Makes malformed input for an experiment of this name, from a good decision id and a good file."""

    experiment: str
    token: bytes
    config: str

    def unary(self, rng: random.Random) -> tuple[str, bytes]:
        """A method and the bytes to send to it."""
        path, good = rng.choice(self._messages)(rng)
        return path, good if rng.random() < 0.4 else broken(rng, good)

    @property
    def _messages(self) -> Sequence[Callable[[random.Random], tuple[str, bytes]]]:
        return (self._select, self._select, self._batch, self._reward, self._expose, self._put, self._named)

    def _select(self, rng: random.Random) -> tuple[str, bytes]:
        request = pb.SelectRequest(
            experiment=rng.choice((self.experiment, word(rng))), subject=rng.choice(("ann", word(rng))),
            arms=[word(rng) for _ in range(rng.choice((0, 0, 1, 3, 1200)))],
            previous_decision_id=rng.choice(("", word(rng), text_of(bad_token(rng, self.token)))),
            deferred=rng.random() < 0.5,
        )  # fmt: skip
        request.mode = rng.choice((0, 1, 2, 3, 17, -1))  # type: ignore[assignment]  # open enums take any number
        for name in ("industry", "source", "returning", "visits", word(rng))[: rng.randint(0, 5)]:
            value = request.context[name]
            kind = rng.randrange(4)
            if kind == 0:
                value.text = word(rng)
            elif kind == 1:
                value.number = rng.choice(_NUMBERS)
            elif kind == 2:
                value.flag = rng.random() < 0.5
        return _CHOICES + "Select", request.SerializeToString()

    def _batch(self, rng: random.Random) -> tuple[str, bytes]:
        n = rng.choice((0, 1, 3, 3, 30))
        request = pb.SelectBatchRequest(experiment=self.experiment, subjects=[f"s{i}" for i in range(n)])
        for name in ("industry", "visits", "returning", "visits", "")[: rng.randint(0, 5)]:
            column = request.context.add(feature=name, present=rng.randbytes(rng.choice((0, 0, n, n + 1))))
            length = rng.choice((n, n, n, 0, n + 1))
            kind = rng.randrange(4)
            if kind == 0:
                column.numbers.extend(rng.choice(_NUMBERS) for _ in range(length))
            elif kind == 1:
                column.dictionary.extend(word(rng) for _ in range(3))
                column.texts.extend(rng.choice((0, 1, 2, 3, 2**32 - 1)) for _ in range(length))
            elif kind == 2:
                column.flags = rng.randbytes(length)
        return _CHOICES + "SelectBatch", request.SerializeToString()

    def reward(self, rng: random.Random) -> pb.RewardRequest:
        """A reward for a decision nobody made, or that cannot be counted."""
        made = pb.RewardRequest(metric=rng.choice(("", "", word(rng))), event_id=rng.choice(("", "e", word(rng))))
        token = bad_token(rng, self.token)
        if rng.random() < 0.5:
            made.decision = token
        if rng.random() < 0.6:
            made.decision_id = rng.choice((text_of(token), text_of(token), word(rng)))
        if rng.random() < 0.5:
            made.value = rng.choice(_NUMBERS)
        return made

    def _reward(self, rng: random.Random) -> tuple[str, bytes]:
        return _CHOICES + "Reward", self.reward(rng).SerializeToString()

    def _expose(self, rng: random.Random) -> tuple[str, bytes]:
        request = pb.ExposeRequest(decision_id=text_of(bad_token(rng, self.token)))
        return _CHOICES + "Expose", request.SerializeToString()

    def _put(self, rng: random.Random) -> tuple[str, bytes]:
        request = xpb.PutExperimentRequest(config=bad_file(rng, self.config), expected_version=_NEVER)
        return _EXPERIMENTS + "PutExperiment", request.SerializeToString()

    def _named(self, rng: random.Random) -> tuple[str, bytes]:
        if rng.random() < 0.25:
            gone = xpb.DeleteExperimentRequest(name="nobody" + word(rng), expected_version=_NEVER)
            return _EXPERIMENTS + "DeleteExperiment", gone.SerializeToString()
        method = rng.choice(("GetExperiment", "GetReport"))
        return _EXPERIMENTS + method, xpb.GetExperimentRequest(name="nobody" + word(rng)).SerializeToString()


def word(rng: random.Random) -> str:
    """A text that somebody did not think of."""
    return rng.choice(_WORDS)


def text_of(token: bytes) -> str:
    """As callers carry it."""
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def bad_token(rng: random.Random, good: bytes) -> bytes:
    """A decision id that was never given out."""
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.randint(0, 300))
    if kind == 1:
        return good[: rng.randrange(len(good))]
    if kind == 2:
        return good + rng.randbytes(rng.randint(1, 20))
    flipped = bytearray(good)
    for _ in range(rng.randint(1, 3)):
        flipped[rng.randrange(len(flipped))] ^= rng.randint(1, 255)
    return bytes(flipped) if bytes(flipped) != good else good[:-1]


def broken(rng: random.Random, good: bytes) -> bytes:
    """Bytes that were a message once."""
    kind = rng.randrange(5)
    if kind == 0 or not good:
        return rng.randbytes(rng.randint(0, 200))
    if kind == 1:
        return good[: rng.randrange(len(good))]
    if kind == 2:
        at = rng.randrange(len(good))
        return good[:at] + rng.randbytes(rng.randint(1, 8)) + good[at:]
    if kind == 3:
        return good + b"\x0a\xff\xff\xff\xff\x0f" + rng.randbytes(3)  # a field that says it has 4 GB
    flipped = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def bad_file(rng: random.Random, good: str) -> str:
    """An experiment file that somebody edited in a hurry."""
    lines = good.splitlines()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        kind = rng.randrange(6)
        if kind == 0:
            del lines[at]
            lines = lines or [""]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines[at] = " " * rng.randint(1, 3) + lines[at]
        elif kind == 3:
            lines[at] = lines[at].replace(
                ":", rng.choice((": -1 #", ": [", ": {", ": &a", ": *a", ": !!python/x", ":\t")), 1
            )
        elif kind == 4:
            where = rng.randint(0, len(lines[at]))
            lines[at] = (
                lines[at][:where] + rng.choice(("[", "}", "\x07", "é", "'", '"', "- ", "? ", "%")) + lines[at][where:]
            )
        else:
            lines[at] = lines[at].partition(":")[0] + ": " + rng.choice((".nan", "1e999", "9" * 40, "~", "2026-99-99"))
    return "\n".join(lines)

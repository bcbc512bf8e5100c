"""A choice for everyone on a list: asked for as deferred, kept, and only then exposed, so that nobody gets two that count.

A choice that was asked for and not kept, because something was killed in between, was shown to nobody and is no trial.
"""

from __future__ import annotations

import binascii
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grpc

from service.cli.connection import Client
from service.cli.mailing.bulk import MESSAGE, TIMEOUT_S, Exposing
from service.cli.mailing.journal import Journal, Mark, Snapshot
from service.cli.mailing.patience import Calling, Results, insist, settle
from service.cli.mailing.recipients import Portion
from service.errors import InvalidError
from service.pb.lever.v1 import personalization_pb2 as pb
from service.remote.fault import fault
from service.text.csv_cells import csv_cells, csv_line

OWN = ("decision_id", "propensity", "holdout", "segment", "arm")  # columns of the choices, beside payload and copies
_AHEAD = 2  # portions that are asked for at a time
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class _Asked(NamedTuple):
    """A portion, the call that asks for it if there is one yet, and the snapshot that it names."""

    portion: Portion
    call: Calling[pb.SelectBatchResponse] | None = None
    frozen: bytes = b""


class Choosing:
    """Portions of a list to rows of choices."""

    def __init__(self, client: Client, journal: Journal, experiment: str, payload: Sequence[str], expose: bool) -> None:
        """`payload` are columns, keys of the arms' payloads."""
        self._client, self._journal, self._experiment = client, journal, experiment
        self._payload, self._expose = tuple(payload), expose
        self._frozen, self._new = journal.frozen, False
        self._exposing = Exposing(client)
        self._under_way: list[tuple[Sequence[bytes], Calling[Results]]] = []
        self._counts = Counter(journal.last.arms), Counter(journal.last.reasons)
        self.changed = 0  # how often the experiment was changed meanwhile

    def run(self, portions: Iterable[Portion], progress: Callable[[], None]) -> None:
        """Choose for all that are not marked yet. InvalidError where the list is no longer what it was."""
        if self._expose and self._journal.last.since < self._journal.last.part:
            self._begin_exposing([raw(one) for one in self._journal.last_column("decision_id")])
        asked: deque[_Asked] = deque()
        for portion in self._left(portions):
            asked.append(self._begin(portion) if self._frozen else _Asked(portion))
            if len(asked) == _AHEAD or not self._frozen:
                self._finish(asked.popleft())
                progress()
        while asked:
            self._finish(asked.popleft())
            progress()
        self._await_exposures()

    def _left(self, portions: Iterable[Portion]) -> Iterator[Portion]:
        """Those after the last mark."""
        done, passed = self._journal.last, 0
        for portion in portions:
            passed += portion.rows
            if passed == done.rows and portion.mark != done.mark:
                said = (
                    f"is not the list that the mailing was begun with: something above row {passed + 1:,} has changed"
                )
                raise InvalidError.field("file", said)
            if passed > done.rows:
                yield portion
        if passed < done.rows:
            raise InvalidError.field("file", f"has {passed:,} rows, the mailing has come to row {done.rows:,}")

    # -- choices -----------------------------------------------------------------------------------------------

    def _begin(self, portion: Portion) -> _Asked:
        return _Asked(portion, self._ask(portion) if portion.subjects else None, self._frozen)

    def _ask(self, portion: Portion) -> Calling[pb.SelectBatchResponse]:
        request = pb.SelectBatchRequest(
            experiment=self._experiment, subjects=portion.subjects, context=portion.context, deferred=True,
            freeze=not self._frozen, frozen=self._frozen,
        )  # fmt: skip
        call: Any = self._client.choices.SelectBatch
        return call.future(request, timeout=TIMEOUT_S)  # type: ignore[no-any-return]

    def _finish(self, asked: _Asked) -> None:
        """The portion's choices, kept."""
        portion = asked.portion
        rows: list[bytes] = []
        ids: list[bytes] = []
        if portion.subjects:
            answer = self._answer(asked)
            ids = list(answer.decision_ids)
            rows = [self._rows(portion, answer).encode()]
        self._await_exposures()
        rejects = [csv_line([str(one.row), one.reason, *one.cells]).encode() for one in portion.rejected]
        last, (arms, reasons) = self._journal.last, self._counts
        mark = Mark(
            rows=last.rows + portion.rows, mark=portion.mark, rejected=last.rejected + len(portion.rejected),
            arms=dict(arms), reasons=dict(reasons),
        )  # fmt: skip
        self._journal.commit(rows, rejects, *([Snapshot(self._frozen)] if self._new else []), mark)
        self._new = False
        if self._expose:
            self._begin_exposing(ids)

    def _answer(self, asked: _Asked) -> pb.SelectBatchResponse:
        """From the frozen snapshot; from a new one where the experiment was changed."""
        try:
            answer = insist(lambda: self._ask(asked.portion), asked.call)
        except grpc.RpcError as error:
            if fault(error).reason != "SNAPSHOT_CHANGED":
                raise
            if asked.frozen == self._frozen:  # else another portion found that out before
                self._frozen = b""
                self.changed += 1
            return self._answer(_Asked(asked.portion, None, self._frozen))
        if answer.frozen:
            self._frozen, self._new = answer.frozen, True
        return answer

    def _rows(self, portion: Portion, answer: pb.SelectBatchResponse) -> str:
        """The choices as lines; what an arm says of itself is put together once."""
        arms, segments = list(answer.arms), list(answer.segments)
        payloads = [flat(payload) for payload in answer.payloads_json]
        strange = {key for arm in set(arms) for key in payloads[arm]}.difference(self._payload)
        if strange:
            said = f"the payload of an arm has {min(strange)!r}, for which the choices have no column"
            raise InvalidError.field(f"experiment {self._experiment}", said)
        self._count(answer)
        ends = {
            (segment, arm): csv_line(
                [
                    answer.segment_ids[segment],
                    answer.arm_ids[arm],
                    *(payloads[arm].get(key, "") for key in self._payload),
                ]
            )
            for segment, arm in set(zip(segments, arms, strict=True))
        }
        begins = map(",".join, zip(*map(csv_cells, portion.kept), strict=True))
        columns = zip(
            begins, texts(answer.decision_ids), answer.propensities, answer.holdout, segments, arms, strict=True
        )
        return "".join([f"{begin},{one},{p!r},{held},{ends[at, arm]}" for begin, one, p, held, at, arm in columns])

    def _count(self, answer: pb.SelectBatchResponse) -> None:
        for arm, count in Counter(answer.arms).items():
            self._counts[0][answer.arm_ids[arm]] += count
        for reason, count in Counter(answer.reasons).items():
            self._counts[1][pb.Reason.Name(reason).removeprefix("REASON_").lower()] += count

    # -- exposures ---------------------------------------------------------------------------------------------

    def _begin_exposing(self, ids: Sequence[bytes]) -> None:
        for start in range(0, len(ids), MESSAGE):
            some = ids[start : start + MESSAGE]
            self._under_way.append((some, self._exposing.send(some)))

    def _await_exposures(self) -> None:
        """Each is counted once, however often it is sent: a mark waits until those of the portion before it are."""
        for ids, begun in self._under_way:
            for result in settle(ids, self._exposing.send, begun):
                if result.code:
                    raise InvalidError.field("exposure", f"was refused: {result.message}")
        self._under_way.clear()


def texts(tokens: Sequence[bytes]) -> list[str]:
    """Decision ids as unpadded URL-safe base64; those of one answer are equally long, and are encoded in one go."""
    if len({len(token) for token in tokens}) > 1:
        return [text for token in tokens for text in texts([token])]
    size = len(tokens[0]) if tokens else 0
    chars, wide, zeros = -(-size * 4 // 3), -(-size // 3) * 4, bytes(-size % 3)
    whole = binascii.b2a_base64(zeros.join([*tokens, b""]), newline=False).translate(_URL_SAFE).decode("ascii")
    return [whole[at : at + chars] for at in range(0, len(tokens) * wide, wide or 1)]


def raw(decision_id: str) -> bytes:
    """The bytes of a decision id. ValueError where it is none."""
    return binascii.a2b_base64(
        decision_id.replace("-", "+").replace("_", "/") + "=" * (-len(decision_id) % 4), strict_mode=True
    )


def flat(payload: str) -> Mapping[str, str]:
    """A payload as cells: an object by its keys, anything else as `payload`; what is no plain value as JSON."""
    value = json.loads(payload)
    cells = value if isinstance(value, dict) else {} if value is None else {"payload": value}
    return {
        key: one if isinstance(one, str) else "" if one is None else json.dumps(one, ensure_ascii=False)
        for key, one in cells.items()
    }

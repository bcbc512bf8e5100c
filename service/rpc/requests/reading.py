"""A request's bytes to its message, unpacked first where the caller packed them (gzip or deflate).

grpc's core would unpack a message on the thread that reads connections, and without end: 256 MB, to say then that 32 are the
most. So it leaves that to us (`grpc.per_message_decompression`): it is done on the thread that answers, once the
call is let in, and stops at a bound.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, Final

from google.protobuf.message import DecodeError

from service.errors import InvalidError

MALFORMED: Final = object()  # stands for a request that does not decode
MESSAGE_BYTES = 32 << 20  # of a message
# The same of one that came packed. To unpack a megabyte takes 2 to 3 ms, and a packed kilobyte can hold one.
UNPACKED_BYTES = 8 << 20
AT_ONCE_BYTES = 512 << 10  # where other calls wait for the thread

# How gzip and zlib begin; no message does: there is no such wire type, and no field 15 in a request of ours.
_PACKED = (b"\x1f\x8b", b"\x78")
_EITHER = zlib.MAX_WBITS | 32  # gzip or zlib
_PIECE_BYTES = 128 << 10
_alone = Lock()  # who unpacks a large message, so that only one takes memory


def reader(decode: Callable[[bytes], Any], *, at_once: bool = False) -> Callable[[bytes], Any]:
    """What decodes requests; grpc would answer INTERNAL to one that does not decode, as if the fault were ours.

    `at_once`: on a thread for which other calls wait.
    """
    alone: AbstractContextManager[Any] = nullcontext() if at_once else _alone
    most = AT_ONCE_BYTES if at_once else UNPACKED_BYTES

    def read(data: bytes) -> Any:
        try:
            if not data.startswith(_PACKED):
                return decode(data)
            with alone:
                return decode(_unpacked(data, most))
        except DecodeError:
            return MALFORMED

    return read


def malformed() -> InvalidError:
    """What the caller hears of it."""
    return InvalidError.field("request", "is not a message of this method, or unpacks to more than one may have")


def _unpacked(data: bytes, most: int) -> bytes:
    """DecodeError where that is more than `most` bytes, or not all of it is there.

    It is counted first, piece by piece: so what is too large takes no memory, nor the interpreter for long.
    """
    try:
        counting, rest, size = zlib.decompressobj(_EITHER), data, 0
        while not counting.eof and size <= most and (piece := counting.decompress(rest, _PIECE_BYTES)):
            size, rest = size + len(piece), counting.unconsumed_tail
        if size > most or not counting.eof or counting.unused_data:
            raise DecodeError
        return zlib.decompress(data, _EITHER, max(size, 1))
    except zlib.error as error:
        raise DecodeError from error

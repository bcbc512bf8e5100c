"""Heads of requests that were read before: a client sends the same line and headers, byte for byte, again and again.

One that came twice is kept; what comes once only, with a number of its own in it, drives none of those away. Reading is
httptools' work, and what it finds depends on the bytes alone; so what was found once is kept by the bytes. A head is kept
only if its end and its body's end are beyond doubt: lines that end as RFC 9112 has them, one Content-Length, no encoding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.http.messages import Header
from service.http.route import Route

END = b"\r\n\r\n"
LONGEST = 2 << 10  # bytes of a head that is kept
MOST = 1024  # of them; the oldest gives way
_ONCE = 4096  # that came once


class Known(NamedTuple):
    """What a head says: the route, what its path has beyond that, the headers, and the bytes of the body."""

    route: Route
    tail: str
    headers: Mapping[bytes, bytes]
    size: int


class Heads:
    """The heads of one port, by their bytes, from the request line to the empty line."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._once: set[int] = set()  # hashes: what two heads have in common by chance is kept at its first coming
        self.get = self._known.get  # None for one that was not kept

    def note(self, head: bytes, route: Route, tail: str, headers: Sequence[Header], size: int) -> None:
        """Keep what the parser found in a head whose body had `size` bytes, at its second coming, if there is no doubt about it."""
        mark = hash(head)
        if mark not in self._once:
            if len(self._once) >= _ONCE:
                self._once.clear()
            self._once.add(mark)
        elif _sound(head) and _plain(headers, size) and size <= route.limit:
            if len(self._known) >= MOST:
                self._known.popitem(last=False)
            self._known[head] = Known(route, tail, dict(headers), size)


def _plain(headers: Sequence[Header], size: int) -> bool:
    """Whether a Content-Length says how long the body is, and nothing else does."""
    framing = [value for name, value in headers if name in (b"content-length", b"transfer-encoding")]
    return framing == [b"%d" % size]


def _sound(head: bytes) -> bool:
    """Whether it begins with its method, ends where a line is empty first, and no end of a line is doubtful."""
    ends = head.count(b"\r\n")
    return (
        head.startswith(b"POST ")
        and head.find(END) == len(head) - len(END)
        and len(head) <= LONGEST
        and head.count(b"\r") == ends == head.count(b"\n")
    )

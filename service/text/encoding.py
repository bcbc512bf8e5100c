"""Bytes of a file to text: by its byte order mark, as UTF-8, or as its owner says; never by a guess."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from service.errors import InvalidError, Violation

BOM = "\ufeff"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like the next one
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOK = 1024  # bytes in which UTF-16 without a mark is told by its zeros


def file_bytes(path: Path) -> bytes:
    """What is in a file. InvalidError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidError.field("file", error.strerror or str(error)) from None


def decoded(data: bytes, encoding: str = "", hint: str = "save it as UTF-8") -> str:
    """The text of a file, line breaks as they are, without a byte order mark.

    `encoding` as Python names it; empty: that of the mark, else UTF-8. InvalidError names line and byte of what does
    not decode, and ends with the hint.
    """
    name = encoding or _marked(data)
    try:
        return data.decode(name).removeprefix(BOM)
    except UnicodeDecodeError as error:
        wide = name.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32"))
        line = None if wide else data.count(b"\n", 0, error.start) + 1
        where = f"byte {data[error.start] if error.start < len(data) else 0:#04x} at offset {error.start:,}"
        raise InvalidError([Violation("file", f"is not {name.upper()}: {where}; {hint}", line)]) from None
    except (LookupError, UnicodeError, ValueError):
        raise InvalidError.field(
            "encoding", f'"{encoding[:40]}" is not the name of an encoding such as cp1252'
        ) from None


@contextmanager
def text_file(path: Path, encoding: str = "", hint: str = "save it as UTF-8") -> Iterator[TextIO]:
    """A file as `decoded` reads it, for those who read it bit by bit; a byte order mark is left in.

    InvalidError inside the block where it cannot be read or decoded.
    """
    name = encoding
    try:
        with path.open("rb") as raw:
            name = encoding or _marked(raw.read(_LOOK))
        with path.open(encoding=name, newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        at = error.start
        before = error.object[max(at - 20, 0) : at].decode(name, "ignore").strip()
        said = f'is not {name.upper()}: byte {error.object[at]:#04x} after "{before}"'
        raise InvalidError.field("file", f"{said}; {hint}") from None
    except LookupError:
        raise InvalidError.field(
            "encoding", f'"{encoding[:40]}" is not the name of an encoding such as cp1252'
        ) from None
    except OSError as error:
        raise InvalidError.field("file", error.strerror or str(error)) from None


def _marked(data: bytes) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    head = data[:_LOOK]
    # Text of Latin letters and digits has a zero in every second byte; text in UTF-8 has none at all.
    if head[1::2].count(0) * 4 > len(head):
        return "utf-16-le"
    return "utf-16-be" if head[0::2].count(0) * 4 > len(head) else "utf-8"

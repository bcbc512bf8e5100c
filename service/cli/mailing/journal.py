"""The files of a mailing under way: what is marked is on the disk, and whatever is not is cut off when it goes on.

`choices.csv.part` grows and becomes `choices.csv` when everyone has a choice; `choices.csv.state` has the marks, a line each;
`choices.rejected.csv` has the rows for which nothing was chosen.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from service.errors import InvalidError
from service.text.csv_cells import csv_line


class Begun(msgspec.Struct, tag=True, frozen=True):
    """What the mailing is; who goes on with it must mean the same."""

    experiment: str
    exposure: str
    columns: list[str]  # of the choices
    header: list[str]  # of the list
    wave: tuple[float, float]


class Snapshot(msgspec.Struct, tag=True, frozen=True):
    """What is chosen from until another one follows."""

    frozen: bytes


class Mark(msgspec.Struct, tag=True, frozen=True):
    """So much is done: rows of the list with their checksum, bytes of the files, choices by arm."""

    rows: int = 0
    mark: int = 0
    part: int = 0
    rejects: int = 0
    since: int = 0  # where in the file the choices of the last portion begin: they may not be exposed yet
    rejected: int = 0
    arms: dict[str, int] = {}
    reasons: dict[str, int] = {}


Line = Begun | Snapshot | Mark


class Journal:
    """The files, held by one process at a time. InvalidError where they are another's, or are of another mailing."""

    def __init__(self, out: Path, begun: Begun) -> None:
        self._out, self._begun = out, begun
        self.rejects = out.with_name(f"{out.stem}.rejected{out.suffix}")
        self._part = out.with_name(f"{out.name}.part")
        self._state = out.with_name(f"{out.name}.state")
        self.last, self.frozen = Mark(), b""
        self._files: dict[Path, BinaryIO] = {}
        if out.exists():
            if not self._part.exists():
                self._state.unlink(missing_ok=True)  # it was through but for that
            raise InvalidError.field("out", "is there already")
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The files are open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of them."""
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()

    def _open(self) -> None:
        state = self._open_file(self._state)
        try:
            fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidError.field(self._state.name, "another process is at it") from None
        begun, end = None, 0
        for line in state.read().splitlines(keepends=True):
            try:
                said = msgspec.json.decode(line, type=Line)
            except msgspec.DecodeError:
                break  # a line that was being written when it was killed
            begun = said if isinstance(said, Begun) else begun
            self.last = said if isinstance(said, Mark) else self.last
            self.frozen = said.frozen if isinstance(said, Snapshot) else self.frozen
            end += len(line)
        if begun is not None and begun != self._begun:
            said = "is of a mailing with other options; finish that one, or delete this file to begin anew"
            raise InvalidError.field(self._state.name, said)
        for path, size in ((self._state, end), (self._part, self.last.part), (self.rejects, self.last.rejects)):
            file = self._open_file(path)
            if file.seek(0, os.SEEK_END) < size:
                raise InvalidError.field(path.name, f"is shorter than {self._state.name} says")
            file.truncate(size)
            file.seek(size)
        if begun is None:
            headers = (self._begun.columns, ["row", "reason", *self._begun.header])
            chosen, rejected = ([csv_line(header).encode()] for header in headers)
            self.commit(chosen, rejected, self._begun, Mark())
            folder = os.open(self._out.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def _open_file(self, path: Path) -> BinaryIO:
        if path not in self._files:
            try:
                self._files[path] = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            except OSError as error:
                raise InvalidError.field(path.name, error.strerror or str(error)) from None
        return self._files[path]

    def commit(self, chosen: Iterable[bytes], rejected: Iterable[bytes], *said: Line) -> None:
        """Append, and mark it once it is on the disk; of the last one of `said`, a Mark, the places are filled in."""
        part, rejects, state = (self._files[path] for path in (self._part, self.rejects, self._state))
        since = part.tell()
        for file, texts in ((part, chosen), (rejects, rejected)):
            before = file.tell()
            file.writelines(texts)
            if file.tell() > before:
                _safe(file)
        *others, mark = said
        assert isinstance(mark, Mark)
        mark = msgspec.structs.replace(mark, part=part.tell(), rejects=rejects.tell(), since=since)
        state.writelines(msgspec.json.encode(line) + b"\n" for line in (*others, mark))
        _safe(state)
        self.last = mark

    def last_column(self, name: str) -> list[str]:
        """A column of the choices of the last portion."""
        file = self._files[self._part]
        file.seek(self.last.since)
        text = file.read().decode()
        place = self._begun.columns.index(name)
        rows = csv.reader(io.StringIO(text, newline=""))
        return [row[place] for row in rows if row != self._begun.columns]

    def finish(self) -> None:
        """Everyone has a choice: the file takes its name."""
        self._part.rename(self._out)
        self._state.unlink()
        if not self.last.rejected:
            self.rejects.unlink()


def _safe(file: BinaryIO) -> None:
    file.flush()
    os.fdatasync(file.fileno())

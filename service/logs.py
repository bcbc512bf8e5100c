"""One line on stderr for each event that matters, none for a decision: words on a terminal, JSON elsewhere.

A line never holds a subject, a decision id, an API key or a value of a context. What an exception says may quote one, so
of exceptions that nobody expected the log has the kind and the place, not the text (docs/logs.md).
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, TextIO

import structlog


def configure(level: str, json: str = "auto", stream: TextIO | None = None, **bound: object) -> None:
    """Send this process's logs, those of libraries too, to `stream` (stderr). `bound` stands in every line."""
    out = sys.stderr if stream is None else stream
    colours = out.isatty()
    as_json = json == "true" or (json == "auto" and not colours)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        lambda _logger, _method, event: bound | event,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[Any] = [
        structlog.processors.ExceptionRenderer(_story),
        *(
            (_in_order, structlog.processors.JSONRenderer())
            if as_json
            else (structlog.dev.ConsoleRenderer(colors=colours),)
        ),
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("numba", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel("WARNING")
    logging.getLogger("uvicorn.error").filters[:] = [Rationed()]


class Rationed(logging.Filter):
    """One line in a while of each text of a library: whoever sends what is no HTTP must not fill the disk with lines.

    A line that comes after some that were left out says how many.
    """

    def __init__(self, pause_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pause_s, self._clock = pause_s, clock
        self._told: dict[str, tuple[float, int]] = {}  # by text without its values, so there are few
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is said."""
        text, now = str(record.msg), self._clock()
        with self._lock:
            at, left_out = self._told.get(text, (-math.inf, 0))
            if now - at < self._pause_s:
                self._told[text] = (at, left_out + 1)
                return False
            self._told[text] = (now, 0)
        if left_out:
            record.msg = f"{text} ({left_out} more of these in the last {round(now - at)} s)"
        return True


def tell_uncaught() -> None:
    """From now on an exception that ends this process, or one of its threads, is a line of the log too."""

    def ends(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            structlog.get_logger("lever").critical("this process ends by an error", exc_info=error)

    def ends_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and isinstance(told.exc_value, Exception):
            name = told.thread.name if told.thread is not None else "unknown"
            structlog.get_logger("lever").critical("a thread ends by an error", thread=name, exc_info=told.exc_value)

    sys.excepthook = ends
    threading.excepthook = ends_thread


def _in_order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """When, how bad and what come first, for those who read JSON with their eyes."""
    return {name: event[name] for name in ("timestamp", "level", "event") if name in event} | dict(event)


def _story(exc_info: Any) -> str:
    """Kinds, files and lines of an exception and of what led to it. An OSError speaks of the machine: its text stays."""
    parts: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        said = f": {error}" if isinstance(error, OSError) else ""
        parts.append(f"{type(error).__name__}{said}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip())
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\ncaused by ".join(parts)

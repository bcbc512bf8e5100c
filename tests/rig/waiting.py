"""Waiting for what a test looks for, and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import grpc

Value = TypeVar("Value")


def eventually(look: Callable[[], Value | None], seconds: float = 60) -> Value:
    """The first answer that is true; fails where none comes."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found


def answered(call: Callable[[], Value]) -> Value | None:
    """The answer, or None while nobody is there to give one."""
    try:
        return call()
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017
        return None

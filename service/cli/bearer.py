"""Adds an API key to every call of a channel."""

from __future__ import annotations

from typing import Any

import grpc


class Bearer(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
):  # the kinds of call that Lever has
    """`authorization: Bearer KEY`. As metadata, not as grpc's call credentials: those refuse plaintext to loopback."""

    def __init__(self, key: str) -> None:
        self._more = (("authorization", f"Bearer {key}"),)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """One request, one answer."""
        return continuation(self._with_key(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """One request, many answers."""
        return continuation(self._with_key(client_call_details), request)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """A stream."""
        return continuation(self._with_key(client_call_details), request_iterator)

    def _with_key(self, details: Any) -> Any:
        return details._replace(metadata=(*(details.metadata or ()), *self._more))

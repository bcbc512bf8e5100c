"""What the console does not answer, and how it says so."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import msgspec

from service.errors import STATUS, DeniedError
from service.http.messages import Reply
from service.remote.fault import Fault

_HTTP = dict(STATUS.values()) | {"DEADLINE_EXCEEDED": 504, "UNIMPLEMENTED": 501}


def faulted(fault: Fault) -> Reply:
    """A worker's refusal as it would be over HTTP; wrong fields with their lines."""
    told: dict[str, object] = {"code": fault.code, "reason": fault.reason, "message": fault.message}
    if fault.code == "UNAVAILABLE" and not fault.reason:
        told["message"] = "no worker answers; it may be starting"
    told["fields"] = [{"field": v.field, "message": v.message, "line": v.line} for v in fault.violations]
    if fault.retry_s is not None:
        told["retry_after_ms"] = round(fault.retry_s * 1000)
    return Reply(_HTTP.get(fault.code, 500), msgspec.json.encode({"error": told}))


def lonely(headers: Mapping[bytes, bytes], *, local: bool, mutual: bool) -> None:
    """DeniedError for what should not be shown to just anybody. To be asked where there are no API keys.

    A name that points to this machine may be anybody's: a site could make a visitor's browser read from here in its own name.
    """
    if mutual:
        raise DeniedError("gRPC asks for certificates here, which a browser does not show: serve with --keys-file")
    host = headers.get(b"host", b"").decode("latin-1")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if local and not _is_own(name.strip("[]")):
        raise DeniedError("without API keys the console answers to localhost and to addresses only, not to other names")


def _is_own(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True

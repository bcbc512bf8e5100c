"""The OpenAPI 3.1 document of the web port. Bodies come from the very types that the handlers decode and encode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from service import __version__
from service.http.handlers.batches import SelectBatch, SelectedBatch
from service.http.handlers.choices import Select, Selected
from service.http.handlers.events import Events, Results
from service.serving.subject import SUBJECT_BYTES

_REF = "#/components/schemas/"
_BODIES = (Select, Selected, SelectBatch, SelectedBatch, Events, Results)
_FLAT = {"type": "object", "additionalProperties": {"type": ["boolean", "string", "number"]}}

# What OFREP's own document says of its answers (open-feature/protocol, 0.3.0), as far as Lever gives them.
_OFREP: Mapping[str, Any] = {
    "Evaluation": {
        "type": "object",
        "required": ["context"],
        "properties": {
            "context": {
                "type": "object",
                "required": ["targetingKey"],
                "properties": {"targetingKey": {"type": "string", "minLength": 1, "maxLength": SUBJECT_BYTES}},
                "additionalProperties": True,
            }
        },
    },
    "Flag": {
        "type": "object",
        "required": ["key", "reason", "variant", "metadata"],
        "properties": {
            "key": {"type": "string"},
            "value": {"description": "The arm's payload, or the arm's id. Left out: show your own default."},
            "variant": {"type": "string"},
            "reason": {"enum": ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]},
            "metadata": _FLAT,
        },
    },
    "FlagFailure": {
        "type": "object",
        "required": ["errorCode", "errorDetails"],
        "properties": {
            "key": {"type": "string"},
            "errorCode": {
                "enum": ["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]
            },
            "errorDetails": {"type": "string"},
        },
    },
    "Flags": {
        "type": "object",
        "required": ["flags"],
        "properties": {
            "flags": {"type": "array", "items": {"anyOf": [{"$ref": f"{_REF}Flag"}, {"$ref": f"{_REF}FlagFailure"}]}}
        },
    },
    "Refusal": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "reason": {"type": "string"}, "message": {"type": "string"}},
            }
        },
    },
}

_WAIT = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_ASK = {"WWW-Authenticate": {"schema": {"type": "string"}}}


def document() -> bytes:
    """The document as JSON."""
    _, components = msgspec.json.schema_components(_BODIES, ref_template=_REF + "{name}")
    for request, field in (("Select", "experiments"), ("Events", "events")):
        # Each element is judged for itself: what is none has an error for its result.
        elements = components[request]["properties"][field]
        elements["items"] = {"anyOf": [elements["items"], {}]}
    security: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"apiKey": []}]
    return msgspec.json.encode({
        "openapi": "3.1.0",
        "info": {"title": "Lever", "version": __version__, "description": "Choices, exposures and rewards over HTTP."},
        "paths": _paths(),
        "components": {
            "schemas": {**components, **_OFREP},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": security,
    })  # fmt: skip


def _paths() -> dict[str, Any]:
    flag = _post("evaluateFlag", "Choose in one experiment; the decision counts.", "Evaluation", "Flag", "FlagFailure")
    flag["parameters"] = [{"name": "key", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]
    flag["responses"]["404"] = _response("There is no such experiment.", "FlagFailure")
    flags = _post(
        "evaluateFlags",
        "Every experiment marked `client: true`; decisions are deferred.",
        "Evaluation",
        "Flags",
        "FlagFailure",
    )
    flags["parameters"] = [{"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}]
    flags["responses"]["200"]["headers"] = {"ETag": {"schema": {"type": "string"}}}
    flags["responses"]["304"] = {"description": "Go on showing what was answered with that ETag."}
    select = _post("select", "Choose in one or several experiments.", "Select", "Selected", "Refusal")
    batch = _post(
        "selectBatch", "Choose in one experiment for many subjects.", "SelectBatch", "SelectedBatch", "Refusal"
    )
    batch["responses"]["404"] = _response("There is no such experiment.", "Refusal")
    batch["responses"]["412"] = _response("The experiment is a draft.", "Refusal")
    batch["responses"]["503"] = _response("Not ready yet.", "Refusal", _WAIT)
    events = _post("sendEvents", "Report exposures and rewards.", "Events", "Results", "Refusal")
    content = events["requestBody"]["content"]
    # Also as text: what navigator.sendBeacon sends without asking the server first. The JSON is in it all the same.
    content["text/plain"] = {"schema": {"type": "string", "contentMediaType": "application/json"}}
    events["parameters"] = [
        {"name": "key", "in": "query", "schema": {"type": "string"}, "description": "A public key, for beacons."}
    ]
    events["responses"]["503"] = _response("The store was away for some: send the same batch again.", "Results", _WAIT)
    for operation in (select, batch, events):
        operation["responses"]["413"] = _response("The body is too large.", "Refusal")
    return {
        "/ofrep/v1/evaluate/flags/{key}": {"post": flag},
        "/ofrep/v1/evaluate/flags": {"post": flags},
        "/v1/select": {"post": select},
        "/v1/select-batch": {"post": batch},
        "/v1/events": {"post": events},
        "/openapi.json": {
            "get": {"operationId": "getDocument", "responses": {"200": {"description": "This.", "content": {"application/json": {}}}}}
        },
    }  # fmt: skip


def _post(name: str, summary: str, takes: str, gives: str, fails: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": _json(takes)},
        "responses": {
            "200": _response("Answered.", gives),
            "400": _response("The request is wrong.", fails),
            "401": _response("No API key, or one that is not known.", fails, _ASK),
            "403": _response("The key does not allow this.", fails),
            "429": _response("Too many at once.", fails, _WAIT),
        },
    }


def _response(text: str, schema: str, headers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"description": text, "content": _json(schema)}
    return told | {"headers": headers} if headers else told


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF + schema}}}

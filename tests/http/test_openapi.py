"""The served OpenAPI document against the handlers: schemathesis makes requests from it, right ones and wrong ones."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.rig.site import Site

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, negative_data_rejection,
]  # fmt: skip
OPERATIONS = {"evaluateFlag", "evaluateFlags", "select", "selectBatch", "sendEvents", "getDocument"}
CONFIG = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": ["400", "404", "405", "413"]}}}
)
EXAMPLES = 20  # of each operation and kind


def test_every_handler_does_what_the_document_says(lever: Site) -> None:
    document = lever.call("GET", "/openapi.json").json
    schema = schemathesis.openapi.from_dict(document, config=CONFIG)
    schema.config.update(base_url=lever.url)
    tried = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        tried.add(operation.definition.raw["operationId"])
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            if operation.method.upper() == "GET" and mode == schemathesis.GenerationMode.NEGATIVE:
                continue

            @seed(1)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(checks=CHECKS)

            check()
    assert tried == OPERATIONS

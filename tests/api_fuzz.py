"""The API fuzzed from its own OpenAPI description: no failure of ours, and no answer that the description denies."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api import Town

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


def fuzz(here: Town, examples: int) -> int:
    """Sends so many requests for each operation, half of them wrong on purpose; returns how many were answered well.

    Known incidents stand in for about half of the names in addresses, so that what is behind a 404 is reached, too.
    """
    officer = here.auth("officer", "officer", "district_manager")
    known = [here.report(headers)["incident_id"] for headers in (officer, {}, officer)]
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", here.app)
    good = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = _cases(operation, mode)
            if strategy is None:
                continue

            @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
            @given(case=strategy, incident=st.sampled_from([None, *known]), signed_in=st.booleans())
            def send(case: Case, incident: str | None, signed_in: bool) -> None:
                nonlocal good
                if incident is not None and "incident_id" in (case.path_parameters or {}):
                    case.path_parameters["incident_id"] = incident
                answer = case.call(headers=officer if signed_in and _complete(case) else {})
                case.validate_response(answer, checks=CHECKS)
                good += answer.status_code < 400

            send()
    return good


def _cases(operation: Any, mode: GenerationMode) -> Any:
    if mode is GenerationMode.NEGATIVE and "application/json" not in {body.media_type for body in operation.body}:
        return None  # every text is right for the description, so nothing can be wrong on purpose
    return operation.as_strategy(generation_mode=mode)


def _complete(case: Case) -> bool:
    """Whether no header was left out on purpose: a token given beside it would put that right."""
    given = case.headers or {}
    return all(one.name in given for one in case.operation.headers if one.is_required)

"""The API behind Amazon API Gateway: REST (payload version 1) and HTTP (version 2) APIs alike."""

import os
from functools import cache
from typing import Any

from mangum import Mangum
from mangum.types import LambdaContext, LambdaEvent

from city_platform.api.composition import open_api
from city_platform.api.observing import log_to
from city_platform.deployment import ALLOWED_ORIGINS
from city_platform.functions import home

_TEXTS = [
    "text/", "application/json", "application/problem+json", "application/geo+json", "application/xml",
    "application/x-www-form-urlencoded",
]  # fmt: skip


@cache
def _application() -> Mangum:
    # Made at the first event and kept: so long the function's container lives.
    log_to()
    origins = os.environ.get(ALLOWED_ORIGINS, "").split()
    return Mangum(open_api(home(), allowed_origins=origins), lifespan="off", text_mime_types=_TEXTS)


def handler(event: LambdaEvent, context: LambdaContext) -> dict[str, Any]:
    """Answers one request. API Gateway throttles clients; the limit here is one container's."""
    return _application()(event, context)

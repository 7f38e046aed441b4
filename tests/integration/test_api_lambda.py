"""The API behind API Gateway: events of both payload versions as AWS sends them."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from starlette.testclient import TestClient

from city_platform.api.composition import open_api
from city_platform.aws.incidents import IncidentTables, dynamodb_client
from city_platform.deployment import open_platform
from city_platform.deployment.incidents import (
    SERVICE_KEY,
    NobodyToWriteTo,
    open_incident_repository,
    open_incident_service,
)
from city_platform.functions import api
from city_platform.incidents.contact import CONTACT_KEY
from city_platform.layers import open_incidents
from tests.incidents import NOW, report
from tests.integration.conftest import REGION
from tests.town import StandingClock, one_bucket

REST_API: dict[str, Any] = {
    "resource": "/{proxy+}",
    "path": "/v1/incidents",
    "httpMethod": "POST",
    "headers": {"Content-Type": "application/json", "Host": "abc.execute-api.ca-central-1.amazonaws.com"},
    "multiValueHeaders": {
        "Content-Type": ["application/json"],
        "Host": ["abc.execute-api.ca-central-1.amazonaws.com"],
        "X-Forwarded-Proto": ["https"],
    },
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": {"proxy": "v1/incidents"},
    "stageVariables": None,
    "requestContext": {
        "resourceId": "abc123",
        "resourcePath": "/{proxy+}",
        "httpMethod": "POST",
        "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        "identity": {"sourceIp": "192.0.2.7", "userAgent": "curl/8"},
        "stage": "prod",
        "apiId": "abc",
        "protocol": "HTTP/1.1",
    },
    "body": None,
    "isBase64Encoded": False,
}
HTTP_API: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/v1/incidents",
    "rawQueryString": "",
    "headers": {"content-type": "application/json", "host": "abc.execute-api.ca-central-1.amazonaws.com"},
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "abc",
        "domainName": "abc.execute-api.ca-central-1.amazonaws.com",
        "http": {
            "method": "POST", "path": "/v1/incidents", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7",
            "userAgent": "curl/8",
        },
        "requestId": "JKJaXmPLvHcESHA=",
        "stage": "$default",
        "time": "09/Mar/2026:16:30:00 +0000",
        "timeEpoch": 1773073800000,
    },
    "isBase64Encoded": False,
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path))
    monkeypatch.setattr(api, "log_to", lambda: None)
    api._application.cache_clear()
    # The adapter takes the thread's event loop, and makes one that it never closes where there is none.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def event(
    version: int, method: str, path: str, body: str | None = None, query: str = "", **more: Any
) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(REST_API if version == 1 else HTTP_API))
    pairs = [tuple(part.split("=")) for part in query.split("&") if part]
    if version == 1:
        made |= {"httpMethod": method, "path": path}
        made["queryStringParameters"] = dict(pairs) or None
        made["multiValueQueryStringParameters"] = {name: [value] for name, value in pairs} or None
    else:
        made |= {"rawPath": path, "rawQueryString": query}
        made["requestContext"]["http"] |= {"method": method, "path": path}
    return {**made, "body": body, **more}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("version", [1, 2])
def test_requests_through_api_gateway(version: int) -> None:
    def call(*parts: Any, **more: Any) -> dict[str, Any]:
        return api.handler(event(version, *parts, **more), None)  # type: ignore[arg-type]  # the context is not read

    made = call("POST", "/v1/incidents", json.dumps(report()))
    assert (made["statusCode"], made["isBase64Encoded"]) == (201, False)
    sent = json.loads(made["body"])
    packed = base64.b64encode(json.dumps(report(title="Naïve kerb")).encode()).decode()
    assert json.loads(call("POST", "/v1/incidents", packed, isBase64Encoded=True)["body"])["title"] == "Naïve kerb"
    read = call("GET", f"/v1/incidents/{sent['incident_id']}")
    assert json.loads(read["body"])["public_ref"] == sent["public_ref"]
    listed = call("GET", "/v1/incidents", None, "district=mount-pleasant&status=reported")
    assert len(json.loads(listed["body"])["incidents"]) == 2
    refused = call("POST", "/v1/incidents", "{}")
    headers = {name.lower(): value for name, value in (refused.get("headers") or {}).items()}
    headers |= {name.lower(): value[0] for name, value in (refused.get("multiValueHeaders") or {}).items()}
    assert (refused["statusCode"], headers["content-type"]) == (400, "application/problem+json")
    assert {one["field"] for one in json.loads(refused["body"])["errors"]} == {"title", "category", "lat"}
    assert "<form" in call("GET", "/report", None, "category=waste")["body"]


def test_on_aws_it_counts_what_was_published_and_wants_a_mailbox(
    aws_environment: dict[str, str], tmp_path: Path
) -> None:
    name, clock = f"api-{tmp_path.parent.name}", StandingClock(NOW)
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    kms = boto3.client("kms")
    known = {one["AliasName"] for one in kms.list_aliases()["Aliases"]}
    for alias in {CONTACT_KEY, SERVICE_KEY} - known:
        kms.create_alias(AliasName=alias, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    for definition in IncidentTables(name).definitions():
        dynamodb_client(REGION, aws_environment["AWS_ENDPOINT_URL"]).create_table(**definition)
    environ = aws_environment | {
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **one_bucket(name),
        "CITY_PLATFORM_ALERTS_TOPIC": boto3.client("sns").create_topic(Name=name)["TopicArn"],
        "CITY_PLATFORM_TABLES": name,
        "CITY_PLATFORM_OIDC_ISSUER": "https://issuer.city.internal",
        "CITY_PLATFORM_OIDC_AUDIENCE": "city",
    }
    with pytest.raises(NobodyToWriteTo):
        open_api(tmp_path, environ, clock=clock)
    environ["CITY_PLATFORM_CONTACT"] = "open-data@city.internal"
    client = TestClient(open_api(tmp_path, environ, clock=clock), raise_server_exceptions=False)
    assert client.post("/v1/incidents", json=report()).status_code == 201
    early = client.get("/v1/stats")
    assert (early.status_code, early.headers["content-type"]) == (503, "application/problem+json")
    platform = open_platform(tmp_path, environ, clock)
    repository = open_incident_repository(tmp_path, clock, environ)
    open_incidents.publish(platform.lake, open_incident_service(platform, repository, environ))
    told = client.get("/v1/stats").json()
    assert (told["total"], told["open"], told["by_status"]) == (1, 1, {"reported": 1})
    assert told["at"].startswith("2026-03-09T16:30:00")

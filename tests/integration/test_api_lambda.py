"""The API behind API Gateway: events of both payload versions as AWS sends them."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
import httpx2
import pytest
from starlette.testclient import TestClient

from city_platform.api.composition import open_api
from city_platform.aws.downloads import S3Downloads
from city_platform.aws.incidents import IncidentTables, dynamodb_client
from city_platform.aws.uploads import s3_client
from city_platform.deployment import open_platform
from city_platform.deployment.incidents import (
    SERVICE_KEY,
    NobodyToWriteTo,
    open_incident_repository,
    open_incident_service,
)
from city_platform.functions import api
from city_platform.incidents.contact import CONTACT_KEY
from city_platform.lake.lake import Lake, StagedFile
from city_platform.lake.zones import Zone
from city_platform.layers import open_incidents
from city_platform.ports import NotPublic
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
    large_files_come_from_the_bucket(
        platform.lake, lambda: TestClient(open_api(tmp_path, environ, clock=clock), raise_server_exceptions=False)
    )


def large_files_come_from_the_bucket(lake: Lake, serve: Callable[[], TestClient]) -> None:
    """What an answer of a function cannot carry is read at an address of its own, whole or in ranges, for a while."""
    content = b"service_request_id\r\n" + b"0123456789\r\n" * 400_000
    file = lake.store.scratch() / "part-00000.csv"
    file.write_bytes(content)
    parts = {"csv": [StagedFile.of(file, 400_000)]}
    lake.publish(
        open_incidents.LAYER, open_incidents.DATASET, "2020", inputs={}, parts=parts, counts={"rows": 1}, schema=[]
    )
    client = serve()  # which has not looked at what is published yet
    small = client.get("/open-data/incidents/2026.csv", follow_redirects=False)
    assert small.status_code == 200
    sent = client.get("/open-data/incidents/2020.csv", follow_redirects=False)
    assert (sent.status_code, sent.content, sent.headers["cache-control"]) == (307, b"", "no-store")
    address = urlsplit(sent.headers["location"])
    asked = dict(parse_qsl(address.query))
    assert unquote(address.path).endswith(
        f"/{lake.require(open_incidents.LAYER, open_incidents.DATASET, '2020').files[0].key}"
    )
    assert 0 < int(asked["X-Amz-Expires"]) <= 300
    read = httpx2.get(sent.headers["location"])
    assert (read.status_code, read.content == content) == (200, True)
    assert read.headers["content-type"] == "text/csv; charset=utf-8"
    assert read.headers["content-disposition"] == 'attachment; filename="incidents-2020.csv"'
    part = httpx2.get(sent.headers["location"], headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, content[10:30])
    known = client.get("/open-data/incidents/2020.csv", headers={"If-None-Match": sent.headers["etag"]})
    assert known.status_code == 304
    head = client.head("/open-data/incidents/2020.csv", follow_redirects=False)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(content)))


@pytest.mark.parametrize(
    "key",
    [
        "encrypted/incidents/year=2026/a-1/rows/part-00000.parquet",
        "raw/incidents/year=2026/a-1/source/a.csv",
        "manifests/curated/incidents/2026/0000000001.json",
        "protection/incidents/service-secret",
        "curatedness/x",
    ],
)
def test_only_what_is_published_gets_an_address(aws_environment: dict[str, str], key: str) -> None:
    region = aws_environment["AWS_REGION"]
    downloads = S3Downloads(dict.fromkeys(Zone, "lake"), lambda: s3_client(region))
    assert "/curated/trees/a.csv?" in downloads.address("curated/trees/a.csv", "text/csv", "a.csv")
    with pytest.raises(NotPublic, match="not published"):
        downloads.address(key, "text/csv", "a.csv")

"""Events of a CloudTrail trail, as the service writes them, for questions and filters to find or to leave alone.

Source: CloudTrail record contents, AWS CloudTrail User Guide. Names and addresses are made up; documentation's own
account and address ranges.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:ca-central-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
# A working day some days ago at noon in the city; the questions look back from today.
_BACK = next(back for back in (2, 3, 4, 5) if (datetime.now(UTC) - timedelta(days=back)).weekday() < 4)
NOON = (datetime.now(UTC) - timedelta(days=_BACK)).replace(hour=20, minute=0, second=0, microsecond=0)
NIGHT = NOON.replace(hour=10)  # two or three in the morning


def person(name: str) -> dict[str, Any]:
    """Somebody signed in through the city's identity provider."""
    role = "AWSReservedSSO_Steward_0123456789abcdef"
    return {
        "type": "AssumedRole",
        "principalId": f"AROAEXAMPLE:{name}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}",
        "accountId": ACCOUNT,
        "sessionContext": {
            "attributes": {"mfaAuthenticated": "true", "creationDate": "2026-01-01T00:00:00Z"},
            "sessionIssuer": {"type": "Role", "userName": role, "accountId": ACCOUNT},
        },
    }


def function(name: str) -> dict[str, Any]:
    """A role of the platform itself."""
    return person("session") | {
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/session",
        "sessionContext": {"sessionIssuer": {"type": "Role", "userName": name, "accountId": ACCOUNT}},
    }


ROOT: dict[str, Any] = {"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT}
SERVICE: dict[str, Any] = {"type": "AWSService", "invokedBy": "athena.amazonaws.com"}
USER: dict[str, Any] = {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/old-script", "userName": "old-script"}


def event(
    source: str,
    name: str,
    who: Mapping[str, Any],
    request: Mapping[str, Any] | None = None,
    *,
    at: datetime = NOON,
    **more: Any,
) -> dict[str, Any]:
    """One call; `source` without its `.amazonaws.com`. Calls that are alike have one id each all the same."""
    said = {
        "eventVersion": "1.11",
        "userIdentity": dict(who),
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "awsRegion": "ca-central-1",
        "sourceIPAddress": "192.0.2.17",
        "requestParameters": None if request is None else dict(request),
        "eventType": "AwsApiCall",
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    } | more
    return {**said, "eventID": str(uuid5(NAMESPACE_OID, repr(sorted(said.items(), key=str))))}


def read(key: str, who: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return event("s3", "GetObject", who, {"bucketName": "cov-cur-demo", "key": key}, **more)


def write(key: str, who: Mapping[str, Any], name: str = "PutObject", **more: Any) -> dict[str, Any]:
    return event("s3", name, who, {"bucketName": "cov-raw-demo", "key": key}, **more)


def denied(one: Mapping[str, Any], code: str = "AccessDenied") -> dict[str, Any]:
    return {**one, "errorCode": code}


def decrypt(who: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    of = [{"ARN": KEY, "accountId": ACCOUNT, "type": "AWS::KMS::Key"}]
    return event("kms", "Decrypt", who, None, resources=of, **more)

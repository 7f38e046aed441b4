"""Who may do what, asked of the policies themselves: of buckets, keys, readers and endpoints."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from city_platform.lake.zones import Zone
from tests.policies import Decision, Request, decide, statements
from tests.rights import allowed, stacks_of
from tests.templates import Stack, template, templates

OWNER, REGION = "111122223333", "ca-central-1"
PSEUDO = {"AWS::AccountId": OWNER, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
IMPORTED = "${import:city-platform-dev-"
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
ANYBODY = f"arn:aws:iam::{OWNER}:role/visitor"
WORKER = f"arn:aws:iam::{OWNER}:role/city-platform-dev-worker"
STRANGER = "arn:aws:iam::999988887777:role/stranger"
BUCKETS = [("foundation", f"{zone.value.capitalize()}Bucket") for zone in Zone] + [
    ("replica", f"{zone.value.capitalize()}Bucket") for zone in Zone
]
# Services whose roles take no condition on who is behind them, or another one.
UNCONDITIONAL = {
    "lambda.amazonaws.com",
    "apigateway.amazonaws.com",
    "credentials.iot.amazonaws.com",
    "s3.amazonaws.com",
}


@cache
def stack(name: str, **parameters: str) -> Stack:
    return template(name).deploy(PSEUDO | parameters)


def bucket_policy(name: str, bucket: str, **parameters: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = stack(name, **parameters)[f"{bucket}Policy"].properties["PolicyDocument"]
    return found


def key_of(name: str, bucket: str) -> str:
    """The key under which a bucket puts what says nothing else."""
    (rule,) = stack(name)[bucket].properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    return str(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"])


def request(bucket: str, action: str = "s3:GetObject", principal: str = ANYBODY, **context: str) -> Request:
    keys = {
        "aws:SecureTransport": "true",
        "aws:PrincipalAccount": principal.split(":")[4],
        "aws:PrincipalArn": principal,
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
    }
    given = {name.replace("__", ":"): value for name, value in context.items()}
    return Request(principal, action, f"${{{bucket}.Arn}}/some/object", keys | given)


def ask(name: str, bucket: str, one: Request, **parameters: str) -> Decision:
    """With a policy of IAM that allows everything, so that the bucket alone decides. A replica is asked as promoted."""
    parameters |= {"Promoted": "true"} if name == "replica" else {}
    return decide(one, [EVERYTHING], bucket_policy(name, bucket, **parameters), owner=OWNER)


@pytest.mark.parametrize(("name", "bucket"), BUCKETS)
def test_a_bucket_of_the_lake_takes_and_gives_over_tls_within_the_account_alone(name: str, bucket: str) -> None:
    assert ask(name, bucket, request(bucket)) is Decision.ALLOWED
    assert ask(name, bucket, request(bucket, "s3:PutObject")) is Decision.ALLOWED
    for action in ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"):
        plain = {"aws:SecureTransport": "false"}
        denied = request(bucket, action)
        assert ask(name, bucket, denied.of(context={**denied.context, **plain})) is Decision.DENIED
        assert ask(name, bucket, request(bucket, action, STRANGER)) is Decision.DENIED
    assert decide(request(bucket), resource=bucket_policy(name, bucket), owner=OWNER) is Decision.NOT_ALLOWED


@pytest.mark.parametrize(("name", "bucket"), BUCKETS)
def test_a_bucket_of_the_lake_takes_objects_under_its_own_key_alone(name: str, bucket: str) -> None:
    algorithm, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    put = request(bucket, "s3:PutObject")
    cases = {
        Decision.ALLOWED: [{}, {algorithm: "aws:kms", key: key_of(name, bucket)}],
        Decision.DENIED: [
            {algorithm: "aws:kms", key: f"arn:aws:kms:{REGION}:{OWNER}:key/another"},
            {algorithm: "AES256"},
            {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"},
        ],
    }
    for decision, contexts in cases.items():
        for context in contexts:
            assert ask(name, bucket, put.of(context={**put.context, **context})) is decision, context


def test_people_can_be_kept_to_the_network_and_workloads_are_not() -> None:
    for zone in Zone:
        bucket = f"{zone.value.capitalize()}Bucket"
        inside = f"{IMPORTED}S3EndpointId}}"
        here, there = (
            request(bucket, principal=ANYBODY, aws__SourceVpce=one) for one in (inside, "vpce-of-somebody-else")
        )
        within = {"RestrictToVpc": "true"}
        assert ask("foundation", bucket, here, **within) is Decision.ALLOWED
        assert ask("foundation", bucket, there, **within) is Decision.DENIED
        assert ask("foundation", bucket, request(bucket), **within) is Decision.DENIED
        assert ask("foundation", bucket, request(bucket, principal=WORKER), **within) is Decision.ALLOWED
        assert ask("foundation", bucket, there) is Decision.ALLOWED


def arn(bucket: str, key: str = "") -> str:
    """An object of a bucket that is imported, or the bucket."""
    return f"arn:aws:s3:::{IMPORTED}{bucket}}}{key and '/' + key}"


def may_read(identity: Sequence[Mapping[str, Any]], bucket: str, key: str) -> tuple[bool, bool]:
    """Whether S3 would serve an object, and whether its key would open it."""
    policy = json.dumps(bucket_policy("foundation", bucket)).replace(f"${{{bucket}.Arn}}", arn(bucket))
    one = request(bucket, principal=ANYBODY).of(resource=arn(bucket, key))
    served = decide(one, identity, json.loads(policy), owner=OWNER) is Decision.ALLOWED
    name = str(re.sub(r"^\$\{import:city-platform-dev-(.*)Arn\}$", r"\1", key_of("foundation", bucket)))
    context = {"kms:ViaService": f"s3.{REGION}.amazonaws.com", "kms:CallerAccount": OWNER}
    decrypt = Request(ANYBODY, "kms:Decrypt", f"{IMPORTED}{name}Arn}}", context)
    opened = decide(decrypt, identity, stack("keys")[name].properties["KeyPolicy"], owner=OWNER) is Decision.ALLOWED
    return served, opened


def allow(action: str, resource: str) -> Mapping[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}


def test_whoever_may_get_an_object_and_not_use_its_key_reads_nothing() -> None:
    getting = allow("s3:GetObject", "*")
    for bucket in ("RawBucket", "TransformBucket"):
        assert may_read([getting], bucket, "some/rows.parquet") == (True, False)
        assert may_read([getting, allow("kms:Decrypt", f"{IMPORTED}InternalKeyArn}}")], bucket, "a") == (True, False)
        assert may_read([getting, allow("kms:Decrypt", f"{IMPORTED}PersonalKeyArn}}")], bucket, "a") == (True, True)
    assert may_read([allow("kms:Decrypt", "*")], "RawBucket", "a") == (False, True)


def test_readers_read_what_is_published_and_no_persons_rows_whatever_else_they_are_given() -> None:
    reader = stack("analytics")["ReaderPolicy"].properties["PolicyDocument"]
    assert may_read([reader], "CuratedBucket", "curated/incidents/day=2026-03-09/x.parquet") == (True, True)
    assert may_read([reader], "TransformBucket", "cleaned/incidents/day=2026-03-09/x.parquet") == (False, False)
    assert may_read([reader], "RawBucket", "raw/x") == (False, False)
    # Their policy denies the personal key, so that no other policy opens it to them.
    assert may_read([reader, EVERYTHING], "TransformBucket", "cleaned/x") == (True, False)


@pytest.mark.parametrize(
    ("service", "resources"),
    {
        "s3": {
            **dict.fromkeys(("s3:ListBucket", "s3:ListBucketVersions"), "arn:aws:s3:::cov-raw-s"),
            "s3:": "arn:aws:s3:::cov-dagster-s/some/object",
        },
        "dynamodb": {"dynamodb:": f"arn:aws:dynamodb:{REGION}:{OWNER}:table/city-platform-dev-traffic"},
        "kms": {"kms:": f"arn:aws:kms:{REGION}:{OWNER}:key/1"},
        "sns": {"sns:": f"arn:aws:sns:{REGION}:{OWNER}:topic"},
        "glue": {"glue:": f"arn:aws:glue:{REGION}:{OWNER}:catalog"},
        "monitoring": {"cloudwatch:": "*"},
    }.items(),
)
def test_an_endpoint_lets_through_what_dagster_may_do(service: str, resources: Mapping[str, str]) -> None:
    (policy,) = (
        json.loads(json.dumps(one.properties["PolicyDocument"]).replace("${Suffix}", "s"))
        for one in stack("network").resources("AWS::EC2::VPCEndpoint")
        if str(one.properties["ServiceName"]).endswith(f".{service}")
    )
    prefix = list(resources)[-1]
    actions = {one for role in ("RunRole", "HostRole") for one in allowed([stack("dagster")], role)}
    for action in sorted(one for one in actions if one.startswith(prefix)):
        one = Request(WORKER, action, resources.get(action, resources[prefix]), {"aws:PrincipalAccount": OWNER})
        # A key has a policy of its own beside; here it lets everybody in.
        everybody = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}]}
        assert decide(one, [EVERYTHING], everybody, endpoint=policy, owner=OWNER) is Decision.ALLOWED, action


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_a_service_takes_a_role_for_this_account_alone() -> None:
    wrong = []
    for one in templates():
        for made in stacks_of(one.name):
            for role in made.resources("AWS::IAM::Role"):
                for statement in statements(role.properties["AssumeRolePolicyDocument"]):
                    services = set(_list(statement["Principal"].get("Service", [])))
                    tested = {key.lower() for tests in (statement.get("Condition") or {}).values() for key in tests}
                    behind = {"aws:sourceaccount", "aws:sourcearn", "sts:externalid"}
                    if services - UNCONDITIONAL and not tested & behind:
                        wrong.append(str(role))
    assert wrong == []

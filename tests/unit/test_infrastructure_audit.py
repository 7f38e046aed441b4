"""The audit stack: what is recorded, that the questions find what was planted, and that the filters see it pass."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from tests.filter_patterns import MOST_CHARACTERS, matches
from tests.templates import FOLDER, template
from tests.trail import (
    KEY,
    NIGHT,
    ROOT,
    SERVICE,
    USER,
    decrypt,
    denied,
    event,
    function,
    person,
    read,
    write,
)

STACK = template("audit").deploy(Suffix="demo")
TRAIL = STACK["Trail"].properties
TRAIL_ARN = (
    "arn:${AWS::Partition}:cloudtrail:${AWS::Region}:${AWS::AccountId}:trail/" + TRAIL["TrailName"]
)  # as the policies of bucket, key and role write it, because the trail cannot be there before them
STEWARD, PIPELINE = person("steward"), function("city-platform-dev-dagster")
QUERIES = {file.stem: file.read_text("utf-8") for file in sorted((FOLDER / "audit_queries").glob("*.sql"))}

Event = Mapping[str, Any]


def test_the_trail_is_whole_and_cannot_be_changed_unseen() -> None:
    assert TRAIL["IsLogging"] is TRAIL["IsMultiRegionTrail"] is TRAIL["EnableLogFileValidation"] is True
    assert TRAIL["IncludeGlobalServiceEvents"] is True
    assert TRAIL["KMSKeyId"] == "${AuditKey.Arn}"
    assert TRAIL["CloudWatchLogsLogGroupArn"] == "${TrailLogGroup.Arn}"
    assert STACK["TrailBucket"].properties["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Days"] == 365


TABLES = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/city-platform-dev-Incident"


def test_data_events_cover_every_bucket_of_the_lake_and_the_tables_of_incidents() -> None:
    selected = [
        {field["Field"]: field.get("Equals", field.get("StartsWith")) for field in one["FieldSelectors"]}
        for one in TRAIL["AdvancedEventSelectors"]
    ]
    assert {"eventCategory": ["Management"]} in selected
    data = {one["resources.type"][0]: one["resources.ARN"] for one in selected if one["eventCategory"] == ["Data"]}
    buckets = ("RawBucket", "TransformBucket", "CuratedBucket", "CrawlerBucket")
    assert data == {
        "AWS::S3::Object": [f"arn:${{AWS::Partition}}:s3:::${{import:city-platform-dev-{one}}}/" for one in buckets],
        "AWS::DynamoDB::Table": [TABLES],
    }


def test_every_table_of_incidents_is_among_them() -> None:
    tables = template("incidents").deploy().resources("AWS::DynamoDB::Table")
    assert tables
    for one in tables:
        arn = (
            f"arn:${{AWS::Partition}}:dynamodb:${{AWS::Region}}:${{AWS::AccountId}}:table/{one.properties['TableName']}"
        )
        assert arn.startswith(TABLES)


def test_only_this_trail_may_write_to_the_bucket_and_with_the_key() -> None:
    policies = [STACK["TrailBucketPolicy"].properties["PolicyDocument"], STACK["AuditKey"].properties["KeyPolicy"]]
    of_the_trail = [
        one
        for policy in policies
        for one in policy["Statement"]
        if isinstance(one["Principal"], dict) and one["Principal"].get("Service") == "cloudtrail.amazonaws.com"
    ]
    assert len(of_the_trail) == 4
    assert all(one["Condition"]["StringEquals"]["aws:SourceArn"] == TRAIL_ARN for one in of_the_trail)


def test_the_named_queries_are_the_files() -> None:
    named = {one.properties["Name"]: one.properties for one in STACK.resources("AWS::Athena::NamedQuery")}
    assert {name: one["QueryString"] for name, one in named.items()} == QUERIES
    assert len(QUERIES) >= 6
    for name, one in named.items():
        assert QUERIES[name].startswith(f"-- {one['Description']}\n")
        assert (one["WorkGroup"], one["Database"]) == ("${AuditWorkGroup}", "${AuditDatabase}")


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_questions_are_asked_where_changes_of_rights_are_recorded(environment: str) -> None:
    """IAM is a global service: its calls are recorded in us-east-1, wherever the stack is."""
    told = json.loads((FOLDER / "parameters" / f"{environment}.json").read_text("utf-8"))["stacks"]["audit"]
    table = template("audit").deploy({"AWS::Region": "ca-central-1"}, Suffix="demo", OtherRegions=told["OtherRegions"])
    regions = table["TrailTable"].properties["TableInput"]["Parameters"]["projection.region.values"].split(",")
    assert {"ca-central-1", "us-east-1"} <= set(regions)


# The questions, asked of a trail as Athena's table shows it.


@cache
def columns() -> dict[str, str]:
    """The Glue table's columns, in DuckDB's words."""
    table = STACK["TrailTable"].properties["TableInput"]
    return {one["Name"]: duck(one["Type"]) for one in [*table["StorageDescriptor"]["Columns"], *table["PartitionKeys"]]}


def duck(kind: str) -> str:
    return sqlglot.exp.DataType.build(kind, dialect="hive").sql(dialect="duckdb")


def row(one: Event) -> dict[str, Any]:
    """An event as its row: names in lower case, what the table has as a string as JSON."""
    kinds = columns()

    def lower(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name.lower(): lower(inner) for name, inner in value.items()}
        return [lower(inner) for inner in value] if isinstance(value, list) else value

    found = {name.lower(): value for name, value in one.items()}
    shown = {
        name: json.dumps(value) if kinds.get(name) == "TEXT" and isinstance(value, dict) else lower(value)
        for name, value in found.items()
    }
    return shown | {"region": one["awsRegion"], "day": one["eventTime"][:10].replace("-", "/")}


ASKED: Mapping[str, tuple[list[Event], list[Event]]] = {  # what a question finds, and what it does not
    "who_read_what": (
        [
            read("published/trees.csv", STEWARD),
            event("dynamodb", "Query", USER, {"tableName": "city-platform-dev-incidents"}),
            read("published/tickets.csv", SERVICE),
        ],
        [write("raw/trees.csv", STEWARD), denied(read("curated/x", STEWARD)), event("s3", "ListBuckets", STEWARD)],
    ),
    "who_changed_what": (
        [
            write("raw/trees.csv", PIPELINE),
            write("raw/old.csv", STEWARD, "DeleteObject"),
            event("dynamodb", "UpdateItem", PIPELINE, {"tableName": "city-platform-dev-incidents"}),
        ],
        [read("published/trees.csv", STEWARD), denied(write("raw/x", STEWARD))],
    ),
    "denied": (
        [
            denied(read("curated/people", STEWARD)),
            denied(decrypt(USER), "AccessDeniedException"),
            denied(event("ec2", "RunInstances", USER), "Client.UnauthorizedOperation"),
        ],
        [read("curated/people", STEWARD), denied(read("gone", STEWARD), "NoSuchKey")],
    ),
    "key_use": (
        [decrypt(STEWARD), denied(decrypt(USER))],
        [event("kms", "DescribeKey", STEWARD, {"keyId": KEY})],
    ),
    "deletes": (
        [
            write("raw/old.csv", STEWARD, "DeleteObject"),
            event("dynamodb", "DeleteTable", USER, {"tableName": "city-platform-dev-incidents"}),
            event("kms", "ScheduleKeyDeletion", ROOT, {"keyId": KEY}),
        ],
        [write("raw/new.csv", STEWARD)],
    ),
    "out_of_hours": (
        [read("curated/people", STEWARD, at=NIGHT), event("iam", "CreateUser", USER, at=NIGHT)],
        [read("curated/x", STEWARD), read("raw/x", PIPELINE, at=NIGHT), read("raw/y", SERVICE, at=NIGHT)],
    ),
    "policy_changes": (
        [
            event("s3", "PutBucketPolicy", STEWARD, {"bucketName": "cov-raw-demo"}),
            event("kms", "PutKeyPolicy", STEWARD, {"keyId": KEY}),
            event("iam", "AttachRolePolicy", USER, {"roleName": "city-platform-dev-api"}),
            event("cloudtrail", "StopLogging", ROOT, {"name": "city-platform-dev"}),
        ],
        [write("raw/x", STEWARD), event("iam", "GetRolePolicy", USER), event("s3", "GetBucketPolicy", USER)],
    ),
    "root_use": (
        [event("s3", "ListBuckets", ROOT), denied(read("curated/people", ROOT))],
        [
            read("curated/x", STEWARD),
            event("s3", "ListBuckets", ROOT | {"invokedBy": "support.amazonaws.com"}),
            event("kms", "RotateKey", ROOT, eventType="AwsServiceEvent"),
        ],
    ),
}


Ask = Callable[[str, list[Event]], list[dict[str, Any]]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """The answers of a question over some events."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    file = tmp_path / "trail.json"
    declared = ", ".join(f"'{name}': '{kind}'" for name, kind in columns().items())

    def answers(name: str, events: list[Event]) -> list[dict[str, Any]]:
        file.write_text("".join(f"{json.dumps(row(one))}\n" for one in events), "utf-8")
        trail = f"SELECT * FROM read_json('{file}', columns = {{{declared}}}, format = 'newline_delimited')"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW cloudtrail_logs AS {trail}")
        found = connection.execute(sqlglot.transpile(QUERIES[name], read="athena", write="duckdb")[0])
        names = [one[0] for one in found.description or ()]
        return [dict(zip(names, answer, strict=True)) for answer in found.fetchall()]

    return answers


@pytest.mark.parametrize("name", QUERIES)
def test_a_question_finds_what_was_planted_and_nothing_else(name: str, ask: Ask) -> None:
    planted, others = ASKED[name]
    whole = ask(name, [*planted, *others])
    assert whole == ask(name, planted)
    assert len(whole) == len(planted)
    assert ask(name, others) == []
    assert ask(name, []) == []


def test_answers_say_who_what_and_when(ask: Ask) -> None:
    (found,) = ask("who_read_what", [read("published/trees.csv", STEWARD)])
    assert found["who"] == STEWARD["arn"]
    assert found["role"].startswith("AWSReservedSSO_Steward")
    assert (found["held_in"], found["object_key"]) == ("cov-cur-demo", "published/trees.csv")
    (refused,) = ask("denied", [denied(read(key, STEWARD)) for key in ("a", "b", "c")])
    assert (refused["refusals"], refused["errorcode"]) == (3, "AccessDenied")
    (used,) = ask("key_use", [decrypt(STEWARD), decrypt(STEWARD, at=NIGHT), denied(decrypt(STEWARD))])
    assert (used["key_arn"], used["calls"], used["refused"]) == (KEY, 3, 1)


def test_what_is_older_than_the_question_says_is_not_read(ask: Ask) -> None:
    assert ask("who_read_what", [read("old", STEWARD, at=NIGHT - timedelta(days=9))]) == []


# The filters over the trail's log group, and their alarms.

FILTERS = {one.name.removesuffix("Filter"): one.properties for one in STACK.resources("AWS::Logs::MetricFilter")}
SEEN: Mapping[str, tuple[list[Event], list[Event]]] = {  # what a filter counts, and what it does not
    "RefusedCalls": ASKED["denied"],
    "RootUse": ASKED["root_use"],
    "SignInWithoutMfa": (
        [
            event(
                "signin",
                "ConsoleLogin",
                USER,
                additionalEventData={"MFAUsed": "No"},
                responseElements={"ConsoleLogin": "Success"},
            )
        ],
        [
            event(
                "signin",
                "ConsoleLogin",
                USER,
                additionalEventData={"MFAUsed": mfa},
                responseElements={"ConsoleLogin": became},
            )
            for mfa, became in (("Yes", "Success"), ("No", "Failure"))
        ],
    ),
    "KeyDisabling": (
        [event("kms", name, STEWARD, {"keyId": KEY}) for name in ("DisableKey", "ScheduleKeyDeletion")],
        [decrypt(STEWARD), event("kms", "EnableKey", STEWARD), event("iot", "DisableKey", STEWARD)],
    ),
    "BucketPolicyChange": (
        [
            event("s3", name, STEWARD)
            for name in ("PutBucketPolicy", "DeleteBucketPolicy", "PutBucketPublicAccessBlock")
        ],
        [write("raw/x", STEWARD), event("s3", "GetBucketPolicy", STEWARD)],
    ),
    "RightsChange": (
        [
            event("iam", name, STEWARD)
            for name in ("AttachRolePolicy", "PutRolePolicy", "DeleteUserPolicy", "CreatePolicyVersion")
        ],
        [event("iam", "GetRolePolicy", STEWARD), event("iam", "ListPolicies", STEWARD)],
    ),
    "TrailChange": (
        [event("cloudtrail", name, STEWARD) for name in ("StopLogging", "DeleteTrail", "UpdateTrail")],
        [event("cloudtrail", "DescribeTrails", STEWARD), event("logs", "DeleteTrail", STEWARD)],
    ),
    "ObjectDeletes": (
        [write("raw/x", STEWARD, name) for name in ("DeleteObject", "DeleteObjects")],
        [write("raw/x", STEWARD), event("dynamodb", "DeleteItem", STEWARD)],
    ),
    "ObjectWrites": (
        [write("raw/x", STEWARD, name) for name in ("PutObject", "CopyObject", "CompleteMultipartUpload")],
        [read("raw/x", STEWARD), event("dynamodb", "PutItem", STEWARD)],
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_counts_what_it_is_for(name: str) -> None:
    pattern = FILTERS[name]["FilterPattern"]
    planted, others = SEEN[name]
    assert [matches(pattern, one) for one in planted] == [True] * len(planted)
    assert [matches(pattern, one) for one in others] == [False] * len(others)
    assert len(pattern) <= MOST_CHARACTERS


@pytest.mark.parametrize("name", FILTERS)
def test_a_filters_count_has_an_alarm(name: str) -> None:
    (transformed,) = FILTERS[name]["MetricTransformations"]
    assert (transformed["MetricValue"], transformed["DefaultValue"]) == ("1", 0)
    alarm = STACK[f"{name}Alarm"].properties
    watched = alarm["Metrics"][0]["MetricStat"]["Metric"] if "Metrics" in alarm else alarm
    assert (watched["Namespace"], watched["MetricName"]) == (
        transformed["MetricNamespace"],
        transformed["MetricName"],
    )
    assert watched["Namespace"] == "CityPlatform/Audit/dev"
    assert FILTERS[name]["LogGroupName"] == "${TrailLogGroup}"


FIELDS = st.dictionaries(
    st.sampled_from(["eventName", "eventSource", "errorCode", "eventType"]),
    st.sampled_from(["", "PutObject", "DisableKey", "kms.amazonaws.com", "AccessDenied", "s3.amazonaws.com"]),
)


@given(one=FIELDS, name=st.sampled_from(sorted(FILTERS)))
def test_no_event_is_too_odd_for_a_filter(one: dict[str, str], name: str) -> None:
    assert matches(FILTERS[name]["FilterPattern"], {"userIdentity": None} | one) in {True, False}


def test_abnormal_writing_is_judged_by_what_is_usual() -> None:
    alarm = STACK["ObjectWritesAlarm"].properties
    assert alarm["ThresholdMetricId"] == "usual"
    assert alarm["Metrics"][1]["Expression"] == "ANOMALY_DETECTION_BAND(writes, 4)"
    assert alarm["ComparisonOperator"] == "LessThanLowerOrGreaterThanUpperThreshold"

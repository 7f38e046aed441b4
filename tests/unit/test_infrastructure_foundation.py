"""The lake's keys, buckets and copies: that keys, key-aliases, foundation and replica.yaml are as the code knows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from city_platform.api.media import _incoming
from city_platform.datasets import load_datasets
from city_platform.deployment.key_aliases import template as aliases
from city_platform.incidents import dead_letters as incident_letters
from city_platform.lake.replica import ALLOWED_LAG
from city_platform.lake.zones import FOLDERS, Zone, zone_of
from city_platform.protection.classification import master_keys
from city_platform.traffic import dead_letters as traffic_letters
from tests.aws_metrics import AWS_METRICS
from tests.conftest import ROOT
from tests.templates import Resource, Stack, template

REGION, OTHER = "ca-central-1", "ca-west-1"
SHORT = {Zone.RAW: "raw", Zone.TRANSFORM: "trf", Zone.CURATED: "cur", Zone.CRAWLER: "crw"}
KEYS = {Zone.RAW: "Personal", Zone.TRANSFORM: "Personal", Zone.CURATED: "Internal", Zone.CRAWLER: "Internal"}
SERVICES_OWN = {"athena-results/", "databrew/"}  # what services of AWS put beside the lake's objects
KEPT = 100_000  # days after which only what never ends is there


def foundation(**parameters: str) -> Stack:
    given = {"AWS::Region": REGION, "AWS::Partition": "aws", "AWS::AccountId": "1"}
    return template("foundation").deploy({"Suffix": "town", **given, **parameters})


def replica(**parameters: str) -> Stack:
    return template("replica").deploy({"Suffix": "town", "AWS::Region": OTHER, "AWS::Partition": "aws", **parameters})


def bucket(stack: Stack, zone: Zone) -> Resource:
    return stack[f"{zone.title()}Bucket"]


def rules(of: Resource) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = of.properties["LifecycleConfiguration"]["Rules"]
    return [one for one in found if one["Status"] == "Enabled"]


def after(of: Resource, key: str, days: int) -> str | None:
    """The storage class of an object of 128 KiB or more that many days old; None when it is gone.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html; smaller ones never change class.
    """
    found = "STANDARD"
    moves = []
    for one in rules(of):
        if key.startswith(one.get("Prefix", "")):
            if days >= one.get("ExpirationInDays", KEPT + 1):
                return None
            moves += [(move["TransitionInDays"], move["StorageClass"]) for move in one.get("Transitions", ())]
    for at, name in sorted(moves):
        found = name if days >= at else found
    return found


def restorable(of: Resource, key: str) -> int:
    """Days for which a replaced or deleted object can be restored: of several rules the shortest counts."""
    ends = [
        one["NoncurrentVersionExpiration"]
        for one in rules(of)
        if "NoncurrentVersionExpiration" in one and key.startswith(one.get("Prefix", ""))
    ]
    return min(one["NoncurrentDays"] for one in ends)


@pytest.mark.parametrize("zone", Zone)
def test_a_zone_has_a_bucket_of_its_name_and_its_copy(zone: Zone) -> None:
    here, there = bucket(foundation(), zone), bucket(replica(), zone)
    assert here.properties["BucketName"] == f"cov-{SHORT[zone]}-town"
    assert there.properties["BucketName"] == f"cov-{SHORT[zone]}-town-replica"
    assert here.properties["Tags"] == there.properties["Tags"]


@pytest.mark.parametrize("zone", Zone)
def test_rules_of_a_bucket_are_about_what_the_code_puts_there(zone: Zone) -> None:
    for stack in (foundation(), replica()):
        prefixes = [one["Prefix"] for one in rules(bucket(stack, zone)) if "Prefix" in one]
        assert all(zone_of(prefix) is zone for prefix in prefixes if prefix not in SERVICES_OWN)


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_that_a_manifest_names_ends_by_itself(folder: str) -> None:
    for stack in (foundation(), replica()):
        here = bucket(stack, zone_of(folder))
        assert after(here, f"{folder}/d/year=2024/v/rows/part.parquet", KEPT)
        assert after(here, f"manifests/{folder}/d/2024/1.json", KEPT) == "STANDARD"


@pytest.mark.parametrize("folder", ["raw", "exports", "cleaned", "quality_checked", "rejected", "curated", "encrypted"])
def test_rows_age_into_storage_that_reads_at_once(folder: str) -> None:
    here = bucket(foundation(), zone_of(folder))
    classes = [after(here, f"{folder}/d/x.parquet", days) for days in (0, 89, 90, 364, 365, KEPT)]
    assert classes == ["STANDARD", "STANDARD", "STANDARD_IA", "STANDARD_IA", "GLACIER_IR", "GLACIER_IR"]


@pytest.mark.parametrize(
    ("key", "days"),
    [
        (f"{incident_letters.PREFIX}/x.json", 90),
        (f"{traffic_letters.PREFIX}/reason=schema/x.json", 90),
        (_incoming("x", "y"), 1),
    ],
)
def test_quarantine_and_unclaimed_uploads_end(key: str, days: int) -> None:
    for stack in (foundation(), replica()):  # what a lifecycle rule removes S3 does not remove in the copy
        here = bucket(stack, zone_of(key))
        assert after(here, key, days - 1)
        assert after(here, key, days) is None


@pytest.mark.parametrize("folder", FOLDERS)
def test_deleted_rows_of_persons_are_gone_sooner_than_others_and_everywhere(folder: str) -> None:
    personal = zone_of(folder) in {Zone.RAW, Zone.TRANSFORM} or folder == "encrypted"
    for stack in (foundation(), replica()):
        assert restorable(bucket(stack, zone_of(folder)), f"{folder}/d/x") == (30 if personal else 400)


def test_everything_is_under_the_key_of_its_classification() -> None:
    for stack, arn in ((foundation(), "${{import:city-platform-dev-{}KeyArn}}"), (replica(), "${{{}Key.Arn}}")):
        for zone in Zone:
            (rule,) = bucket(stack, zone).properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            key = arn.format(KEYS[zone])
            assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
            pinned = [one for one in statements(stack, zone) if one["Sid"] == "OtherKeysDenied"]
            assert [key] == [
                one["Condition"]["StringNotEquals"]["s3:x-amz-server-side-encryption-aws-kms-key-id"] for one in pinned
            ]


def statements(stack: Stack, zone: Zone) -> Sequence[Mapping[str, Any]]:
    policy = stack[f"{zone.title()}BucketPolicy"].properties["PolicyDocument"]
    found: Sequence[Mapping[str, Any]] = policy["Statement"]
    return found


def test_old_versions_leave_no_markers_and_unfinished_uploads_no_parts() -> None:
    for stack in (foundation(), replica()):
        for zone in Zone:
            whole = {
                name: value for one in rules(bucket(stack, zone)) if "Prefix" not in one for name, value in one.items()
            }
            assert whole["ExpiredObjectDeleteMarker"] is True
            assert whole["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}


def outsiders_denied(bucket: str, found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the first two statements of a bucket's policy keep out who is of another account or without TLS."""
    expected = {
        "PlainConnectionsDenied": {"Bool": {"aws:SecureTransport": "false"}},
        "OtherAccountsDenied": {
            "StringNotEquals": {"aws:PrincipalAccount": "1"},
            "Bool": {"aws:PrincipalIsAWSService": "false"},
        },
    }
    whole = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [bucket, f"{bucket}/*"]}
    return all(found[sid] == {"Sid": sid, "Condition": condition, **whole} for sid, condition in expected.items())


@pytest.mark.parametrize("zone", Zone)
def test_a_bucket_denies_outsiders_and_keys_that_are_not_its_own(zone: Zone) -> None:
    """What the policy says; what follows from it for a caller is tried with an evaluator of policies elsewhere."""
    header, arn = "s3:x-amz-server-side-encryption", f"${{{zone.title()}Bucket.Arn}}"
    for stack in (foundation(), replica(**{"AWS::AccountId": "1"})):
        found = {one["Sid"]: one for one in statements(stack, zone)}
        assert outsiders_denied(arn, found)
        assert found["KeysOfS3Denied"]["Condition"] == {"Null": {header: "false", f"{header}-aws-kms-key-id": "true"}}
        assert found["KeysOfClientsDenied"]["Condition"] == {"Null": {f"{header}-customer-algorithm": "false"}}
        for sid in ("KeysOfS3Denied", "KeysOfClientsDenied", "OtherKeysDenied"):
            one = found[sid]
            assert (one["Effect"], one["Principal"]) == ("Deny", "*")
            assert (one["Action"], one["Resource"]) == ("s3:PutObject", f"{arn}/*")


def test_access_logs_end_and_come_from_buckets_of_this_account_alone() -> None:
    for stack, name in ((foundation(), "cov-log-town"), (replica(**{"AWS::AccountId": "1"}), "cov-log-town-replica")):
        logs = stack["LogBucket"]
        assert logs.properties["BucketName"] == name
        (rule,) = logs.properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        assert (after(logs, "raw/x", 399), after(logs, "raw/x", 400)) == ("STANDARD", None)
        for zone in Zone:
            logging = bucket(stack, zone).properties["LoggingConfiguration"]
            assert logging == {"DestinationBucketName": "${LogBucket}", "LogFilePrefix": f"{zone}/"}
        *denied, allowed = stack["LogBucketPolicy"].properties["PolicyDocument"]["Statement"]
        assert outsiders_denied("${LogBucket.Arn}", {one["Sid"]: one for one in denied})
        assert allowed == {
            "Sid": "AccessLogsOfThisAccount",
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": "${LogBucket.Arn}/*",
            "Condition": {"StringEquals": {"aws:SourceAccount": "1"}, "ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}},
        }


def test_services_of_this_account_tell_operations_and_so_a_mailbox() -> None:
    assert "OperationsMailbox" not in foundation().by_name
    stack = foundation(OperationsEmail="operations@city.internal")
    mailbox = stack["OperationsMailbox"].properties
    assert mailbox == {"TopicArn": "${OperationsTopic}", "Protocol": "email", "Endpoint": "operations@city.internal"}
    allowed, denied = stack["OperationsTopicPolicy"].properties["PolicyDocument"]["Statement"]
    # EventBridge brings no account to a topic: its rules publish with roles.
    assert set(allowed["Principal"]["Service"]) == {f"{one}.amazonaws.com" for one in ("budgets", "cloudwatch")}
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": "1"}}
    for one, effect in ((allowed, "Allow"), (denied, "Deny")):
        assert (one["Effect"], one["Action"], one["Resource"]) == (effect, "sns:Publish", "${OperationsTopic}")


def test_replication_is_a_role_of_s3_for_these_buckets() -> None:
    role = foundation(ReplicaRegion=OTHER)["ReplicationRole"].properties
    assert role["RoleName"] == "city-platform-dev-replication"
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "s3.amazonaws.com"}, "sts:AssumeRole")
    assert "Condition" not in trust


def test_the_other_mode_is_for_the_curated_bucket_alone() -> None:
    stack = foundation(EncryptionMode="SSE-S3")
    for zone in Zone:
        (rule,) = bucket(stack, zone).properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        expected = "AES256" if zone is Zone.CURATED else "aws:kms"
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == expected


def test_without_a_region_nothing_is_copied() -> None:
    stack = foundation()
    assert "ReplicationRole" not in stack.by_name
    assert not any("ReplicationConfiguration" in bucket(stack, zone).properties for zone in Zone)


@pytest.mark.parametrize("zone", Zone)
def test_every_bucket_is_copied_into_the_one_that_replica_declares(zone: Zone) -> None:
    here, there = foundation(ReplicaRegion=OTHER), replica()
    replication = bucket(here, zone).properties["ReplicationConfiguration"]
    (rule,) = replication["Rules"]
    copy = bucket(there, zone).properties
    arn = f"arn:aws:s3:::{copy['BucketName']}"
    assert (rule["Status"], rule["Filter"], rule["Destination"]["Bucket"]) == ("Enabled", {"Prefix": ""}, arn)
    assert rule["SourceSelectionCriteria"] == {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
    assert rule["DeleteMarkerReplication"] == {"Status": "Enabled"}, "an erasure has to reach the copy"
    key = rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"]
    assert key.startswith(f"arn:aws:kms:{OTHER}:1:key/")
    assert f"{KEYS[zone]}KeyArn" in key
    granted = {
        action: one["Resource"]
        for one in here["ReplicationRole"].properties["Policies"][0]["PolicyDocument"]["Statement"]
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    source = f"arn:aws:s3:::cov-{SHORT[zone]}-town"
    assert source in granted["s3:ListBucket"]
    assert f"{source}/*" in granted["s3:GetObjectVersionForReplication"]
    assert f"{arn}/*" in granted["s3:ReplicateObject"]
    assert f"{arn}/*" in granted["s3:ReplicateDelete"]
    assert key in granted["kms:Encrypt"]
    assert f"${{import:city-platform-dev-{KEYS[zone]}KeyArn}}" in granted["kms:Decrypt"]


def test_what_s3_could_not_copy_is_told() -> None:
    here = foundation(ReplicaRegion=OTHER)
    alarm = here["ReplicationFailedAlarm"].properties
    watched = [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]
    assert {one["MetricName"] for one in watched} == {"OperationsFailedReplication"}
    of = [{each["Name"]: each["Value"] for each in one["Dimensions"]} for one in watched]
    for dimensions, zone in zip(of, Zone, strict=True):
        (rule,) = bucket(here, zone).properties["ReplicationConfiguration"]["Rules"]
        source = bucket(here, zone).properties["BucketName"]
        assert dimensions == {
            "SourceBucket": source,
            "DestinationBucket": f"{source}-replica",
            "RuleId": rule["Id"],
        }
        assert set(dimensions) in AWS_METRICS["AWS/S3"]["OperationsFailedReplication"]
        assert rule["Destination"]["ReplicationTime"]["Time"]["Minutes"] * 60 == ALLOWED_LAG.total_seconds()
    assert alarm["AlarmActions"] == ["${OperationsTopic}"]
    assert "ReplicationFailedAlarm" not in foundation().by_name


@pytest.mark.parametrize("zone", Zone)
def test_copies_are_written_by_replication_until_they_are_promoted(zone: Zone) -> None:
    (guard,) = [one for one in statements(replica(), zone) if one["Sid"] == "OnlyReplicationWrites"]
    assert guard["Effect"] == "Deny"
    assert set(guard["Action"]) == {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject"}
    promoted = statements(replica(Promoted="true"), zone)
    assert [one["Sid"] for one in promoted] == [one["Sid"] for one in statements(foundation(), zone)]


def test_a_copy_of_a_key_is_of_the_key_and_goes_by_its_export() -> None:
    keys, there = template("keys").deploy(), replica(PersonalKeyArn="arn:p", InternalKeyArn="arn:i")
    for name, arn in (("Personal", "arn:p"), ("Internal", "arn:i")):
        assert keys[f"{name}Key"].properties["MultiRegion"] is True
        assert there[f"{name}Key"].properties["PrimaryKeyArn"] == arn
        export = f"city-platform-dev-{name}KeyArn"
        assert there.exports[export] == keys.exports[export] == f"${{{name}Key.Arn}}"


def test_people_can_be_kept_to_the_network() -> None:
    network = template("network").deploy(Suffix="town")
    for zone in Zone:
        assert "OutsideTheNetworkDenied" not in [one["Sid"] for one in statements(foundation(), zone)]
        stack = foundation(RestrictToVpc="true")
        (only,) = [one for one in statements(stack, zone) if one["Sid"] == "OutsideTheNetworkDenied"]
        endpoint = only["Condition"]["StringNotEquals"]["aws:SourceVpce"].removeprefix("${import:").removesuffix("}")
        assert network.exports[endpoint] == "${S3Endpoint}"
        assert only["Condition"]["ArnNotLike"] == {"aws:PrincipalArn": "arn:aws:iam::1:role/city-platform-dev-*"}


def test_browsers_may_send_pictures_from_the_origins_that_are_named_alone() -> None:
    assert "CorsConfiguration" not in bucket(foundation(), Zone.RAW).properties
    given = bucket(foundation(UploadOrigins="https://a.city, https://b.city"), zone_of(_incoming("x", "y")))
    (rule,) = given.properties["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedOrigins"] == ["https://a.city", "https://b.city"]
    assert rule["AllowedMethods"] == ["POST"]


def test_master_keys_of_all_datasets_have_their_names() -> None:
    names = [dataset.name for dataset in load_datasets(ROOT / "datasets")]
    committed = Path(ROOT / "infrastructure/key-aliases.yaml").read_text("utf-8")
    assert committed == aliases(names), "run `python -m city_platform.deployment.key_aliases`"
    made = {
        one.properties["AliasName"]: one.properties["TargetKeyId"]
        for one in template("key-aliases").deploy().resources()
    }
    assert set(made) == {key for name in names for key in master_keys(name)}
    for alias, target in made.items():
        assert target == f"${{import:city-platform-dev-{alias.rsplit('/')[-1].title()}KeyArn}}"
    assert len(made) <= 2 * 50, "KMS gives a key 50 aliases"


KEY = {"AWS::AccountId": "1", "AWS::Partition": "aws", "AWS::Region": REGION}


def key_statements(name: str) -> dict[str, Mapping[str, Any]]:
    copies = replica(**KEY).by_name.get(f"{name}Key")
    found = template("keys").deploy(KEY)[f"{name}Key"].properties["KeyPolicy"]
    assert copies is None or copies.properties["KeyPolicy"] == found, "the copy is administered and used as the key is"
    return {one["Sid"]: one for one in found["Statement"]}


@pytest.mark.parametrize("name", ["Public", "Internal", "Personal", "Logs"])
def test_administering_a_key_is_not_using_it_and_both_are_this_accounts(name: str) -> None:
    found = key_statements(name)
    administered, used, handed_on, kept = list(found.values())[:4]
    assert not set(administered["Action"]) & {*used["Action"], handed_on["Action"]} - {"kms:DescribeKey"}
    assert set(used["Action"]) == {
        f"kms:{one}"
        for one in (
            *("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"),
            *("ReEncryptFrom", "ReEncryptTo"),
        )
    }
    assert {"kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:CreateAlias"} <= set(administered["Action"])
    mine = {"StringEquals": {"kms:CallerAccount": "1"}}
    assert used["Condition"] == mine
    assert handed_on["Condition"] == mine | {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    for one in (administered, used, handed_on):
        assert (one["Effect"], one["Principal"], one["Resource"]) == ("Allow", {"AWS": "arn:aws:iam::1:root"}, "*")
    others = {"BoolIfExists": {"kms:GrantIsForAWSResource": "false", "aws:PrincipalIsAWSService": "false"}}
    assert (kept["Effect"], kept["Principal"], kept["Action"]) == ("Deny", "*", handed_on["Action"])
    assert (kept["Resource"], kept["Condition"]) == ("*", others)
    assert len(found) == (7 if name == "Logs" else 4)


def test_services_use_the_key_of_logs_for_this_account() -> None:
    found = key_statements("Logs")
    logs, messages, trails = list(found.values())[4:]
    assert logs["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    group = f"arn:aws:logs:{REGION}:1:log-group:*"
    assert logs["Condition"] == {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": group}}
    assert {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"} <= set(logs["Action"])
    senders = ("budgets", "cloudwatch", "events", "s3", "scheduler", "sns")
    assert messages["Principal"] == {"Service": [f"{one}.amazonaws.com" for one in senders]}
    assert messages["Condition"] == {"StringEquals": {"aws:SourceAccount": "1"}}
    assert trails["Principal"] == {"Service": "cloudtrail.amazonaws.com"}
    assert trails["Condition"]["StringEquals"] == messages["Condition"]["StringEquals"]
    assert trails["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:cloudtrail:*:1:trail/*"}
    needed = {"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"}
    assert set(trails["Action"]) == needed
    assert set(messages["Action"]) == needed | {"kms:ReEncryptFrom", "kms:ReEncryptTo"}

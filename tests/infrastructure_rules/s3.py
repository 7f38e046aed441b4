"""Buckets. Source: AWS Foundational Security Best Practices S3.5-S3.17, and what those let pass (see each rule)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.infrastructure_rules.model import rule
from tests.infrastructure_rules.policies import anybody, denies_plain_connections, listed, policies_of
from tests.templates import Resource, Stack

BUCKET = "AWS::S3::Bucket"
_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


@rule("s3-kms", BUCKET)
def under_a_key_of_ours(bucket: Resource, _: Stack) -> Iterator[str]:
    """The registry's rule of this kind is content with AES256, and with the key of S3."""
    for one in _encryption(bucket) or [{}]:
        default = one.get("ServerSideEncryptionByDefault", {})
        if default.get("SSEAlgorithm") != "aws:kms":
            yield "is not under KMS"
        elif not default.get("KMSMasterKeyID") or "alias/aws/" in default["KMSMasterKeyID"]:
            yield "names no key of ours"
        elif one.get("BucketKeyEnabled") is not True:
            yield "asks KMS for every object: no bucket key"


def _encryption(bucket: Resource) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = bucket.properties.get("BucketEncryption", {}).get(
        "ServerSideEncryptionConfiguration", []
    )
    return found


def _keys(bucket: Resource) -> Sequence[str]:
    keys = [one.get("ServerSideEncryptionByDefault", {}).get("KMSMasterKeyID") for one in _encryption(bucket)]
    return [key for key in keys if key]


@rule("s3-not-public", BUCKET)
def not_public(bucket: Resource, _: Stack) -> Iterator[str]:
    blocked = bucket.properties.get("PublicAccessBlockConfiguration", {})
    if missing := [name for name in _BLOCKS if blocked.get(name) is not True]:
        yield f"does not set {', '.join(missing)}"


@rule("s3-no-acl", BUCKET)
def without_acl(bucket: Resource, _: Stack) -> Iterator[str]:
    rules = bucket.properties.get("OwnershipControls", {}).get("Rules", [])
    if [one.get("ObjectOwnership") for one in rules] != ["BucketOwnerEnforced"] or "AccessControl" in bucket.properties:
        yield "lets objects have access control lists"


@rule("s3-versions", BUCKET)
def versioned(bucket: Resource, _: Stack) -> Iterator[str]:
    if bucket.properties.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "keeps no versions"


@rule("s3-lifecycle", BUCKET)
def forgets(bucket: Resource, _: Stack) -> Iterator[str]:
    rules = [
        one
        for one in bucket.properties.get("LifecycleConfiguration", {}).get("Rules", [])
        if one.get("Status") == "Enabled" and not one.get("Prefix") and "TagFilters" not in one
    ]
    if not any("NoncurrentDays" in one.get("NoncurrentVersionExpiration", {}) for one in rules):
        yield "keeps old versions for ever"
    if not any("AbortIncompleteMultipartUpload" in one for one in rules):
        yield "keeps unfinished uploads for ever"


@rule("s3-access-log", BUCKET)
def logged(bucket: Resource, _: Stack) -> Iterator[str]:
    if not bucket.properties.get("LoggingConfiguration", {}).get("DestinationBucketName"):
        yield "logs no access"


@rule("s3-replication", BUCKET)
def copied_encrypted(bucket: Resource, _: Stack) -> Iterator[str]:
    """cfn-lint is content with a replication that S3 refuses, or that leaves encrypted objects out."""
    replication = bucket.properties.get("ReplicationConfiguration")
    if replication is None:
        return
    if bucket.properties.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "is copied without versions, which S3 refuses"
    for one in replication["Rules"]:
        source = one.get("SourceSelectionCriteria", {}).get("SseKmsEncryptedObjects", {})
        if source.get("Status") != "Enabled":
            yield "leaves out of its copy what is under KMS"
        key = one["Destination"].get("EncryptionConfiguration", {}).get("ReplicaKmsKeyID")
        if not key or key in _keys(bucket):
            yield "names no key of the other region"
        if "Status" not in one.get("DeleteMarkerReplication", {}):
            yield "does not say whether deleting is copied"


@rule("s3-policy", BUCKET)
def guarded(bucket: Resource, stack: Stack) -> Iterator[str]:
    found = list(policies_of("AWS::S3::BucketPolicy", "Bucket", bucket, stack))
    both = {f"${{{bucket.name}.Arn}}", f"${{{bucket.name}.Arn}}/*"}
    if not denies_plain_connections([one for one in found if both <= set(listed(one["Resource"]))]):
        yield "takes connections without TLS"
    if any(one["Effect"] == "Allow" and anybody(one) for one in found):
        yield "allows something to everybody"


@rule("s3-key-pinned", BUCKET)
def pinned(bucket: Resource, stack: Stack) -> Iterator[str]:
    """Default encryption alone lets a writer choose another key, which need not be ours."""
    header = "s3:x-amz-server-side-encryption-aws-kms-key-id"
    for key in _keys(bucket):
        if not any(
            one["Effect"] == "Deny"
            and "s3:PutObject" in listed(one["Action"])
            and one.get("Condition", {}).get("StringNotEquals", {}).get(header) == key
            and str(one["Condition"].get("Null", {}).get(header)).lower() == "false"
            for one in policies_of("AWS::S3::BucketPolicy", "Bucket", bucket, stack)
        ):
            yield f"takes objects under other keys than {key}"

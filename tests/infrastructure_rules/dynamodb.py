"""Tables. Source: AWS Foundational Security Best Practices DynamoDB.2 and .6; capacity on demand is this platform's."""

from collections.abc import Iterator

from tests.infrastructure_rules.model import rule
from tests.templates import Resource, Stack

TABLE = "AWS::DynamoDB::Table"


@rule("dynamodb-on-demand", TABLE)
def on_demand(table: Resource, _: Stack) -> Iterator[str]:
    """Autoscaling, which other catalogues of rules ask for, follows an hour's peak too late."""
    if table.properties.get("BillingMode") != "PAY_PER_REQUEST":
        yield "has provisioned capacity"


@rule("dynamodb-restorable", TABLE)
def restorable(table: Resource, _: Stack) -> Iterator[str]:
    if table.properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is not True:
        yield "cannot be restored to a point in time"
    if table.properties.get("DeletionProtectionEnabled") is not True:
        yield "can be deleted by a call"


@rule("dynamodb-kms", TABLE)
def under_a_key_of_ours(table: Resource, _: Stack) -> Iterator[str]:
    kept = table.properties.get("SSESpecification", {})
    if kept.get("SSEEnabled") is not True or kept.get("SSEType") != "KMS" or not kept.get("KMSMasterKeyId"):
        yield "names no key of ours"


@rule("dynamodb-stream", TABLE)
def tells_both_images(table: Resource, _: Stack) -> Iterator[str]:
    stream = table.properties.get("StreamSpecification")
    if stream is not None and stream.get("StreamViewType") != "NEW_AND_OLD_IMAGES":
        yield "does not tell what an item was and is"

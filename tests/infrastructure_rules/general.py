"""Rules for every resource, whatever its service."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.infrastructure_rules.model import rule
from tests.templates import Resource, Stack

TAGS = {"Project", "Environment", "DataClassification"}
# What cannot carry tags; a type that is not here has to.
UNTAGGED = re.compile(
    r"AWS::(S3::BucketPolicy|KMS::Alias|SNS::(Subscription|TopicPolicy)|SQS::QueuePolicy"
    r"|IAM::(Policy|ManagedPolicy|InstanceProfile)"
    r"|Lambda::(Permission|EventInvokeConfig|Version|Alias|LayerVersion|LayerVersionPermission|Url)"
    r"|EC2::(SecurityGroup(Ingress|Egress)|SubnetRouteTableAssociation|VPCGatewayAttachment|Route)"
    r"|Logs::(MetricFilter|QueryDefinition|SubscriptionFilter|ResourcePolicy|LogStream)"
    r"|ApiGatewayV2::(Integration|Route|Authorizer|Deployment|ApiMapping|Model|RouteResponse)"
    r"|Cognito::(UserPool(Client|Domain|Group|IdentityProvider|ResourceServer|User)|IdentityPoolRoleAttachment)"
    r"|Glue::(Table|Database|Partition|SecurityConfiguration|DataCatalogEncryptionSettings|Classifier)"
    r"|IoT::(PolicyPrincipalAttachment|ThingPrincipalAttachment|Thing|Certificate|Logging)"
    r"|Events::(Rule|Archive|EventBusPolicy|Connection|ApiDestination)|EventSchemas::RegistryPolicy"
    r"|Scheduler::Schedule|Athena::NamedQuery|CloudWatch::(Dashboard|AnomalyDetector)"
    r"|ECS::ClusterCapacityProviderAssociations|EFS::MountTarget|Backup::BackupSelection"
    r"|SecretsManager::(SecretTargetAttachment|RotationSchedule|ResourcePolicy)"
    r"|ElasticLoadBalancingV2::ListenerRule|WAFv2::WebACLAssociation|Kinesis::(StreamConsumer|ResourcePolicy)"
    r"|AppSync::.*|LakeFormation::.*|ApplicationAutoScaling::.*|CloudFormation::.*|QuickSight::RefreshSchedule)|Custom::.*"
)
_ARN = re.compile(r"\barn:(aws[\w-]*):")
_ACCOUNT = re.compile(r"(?<![\w.])\d{12}(?![\w.])")
_REGION = re.compile(r"\b(?:af|ap|ca|eu|il|me|mx|sa|us)-(?:gov-)?(?:central|north|south|east|west)(?:east|west)?-\d\b")


def tags(resource: Resource) -> dict[str, Any]:
    """A resource's tags, whichever of the forms its type uses."""
    for name in ("Tags", "UserPoolTags", "HostedZoneTags", "FileSystemTags", "ResourceTags"):
        found = resource.properties.get(name)
        if isinstance(found, list):
            return {one["Key"]: one["Value"] for one in found}
        if isinstance(found, dict):
            return found
    return {}


@rule("tags")
def tagged(resource: Resource, _: Stack) -> Iterator[str]:
    if not UNTAGGED.fullmatch(resource.kind) and (missing := TAGS - set(tags(resource))):
        yield f"has no tags {', '.join(sorted(missing))}"


@rule("no-literals")
def no_literals(resource: Resource, _: Stack) -> Iterator[str]:
    text = json.dumps(resource.body)
    for what, pattern in (("partition", _ARN), ("account", _ACCOUNT), ("region", _REGION)):
        if found := pattern.search(text):
            yield f"names a {what}: {found.group()}"


STATEFUL = {
    "AWS::S3::Bucket",
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
    "AWS::KMS::Key",
    "AWS::KMS::ReplicaKey",
    "AWS::Cognito::UserPool",
    "AWS::Kinesis::Stream",
    "AWS::RDS::DBInstance",
    "AWS::RDS::DBCluster",
    "AWS::EFS::FileSystem",
    "AWS::Logs::LogGroup",
    "AWS::SecretsManager::Secret",
    "AWS::Backup::BackupVault",
    "AWS::CloudTrail::EventDataStore",
}


@rule("retain", *sorted(STATEFUL))
def retained(resource: Resource, _: Stack) -> Iterator[str]:
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        if resource.body.get(policy) not in {"Retain", "RetainExceptOnCreate"}:
            yield f"has {policy} {resource.body.get(policy)}, not Retain"

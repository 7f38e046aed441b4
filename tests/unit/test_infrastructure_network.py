"""network.yaml: nothing leads out unless it is asked for, and endpoints let through what the platform does."""

import re
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.loaders import Loader

from tests.conftest import ROOT
from tests.templates import Resource, Stack, template

GATEWAYS = {"s3", "dynamodb"}
# A32, and what containers in a private subnet need besides: images, secrets, metrics, sessions of those who look in.
INTERFACES = {
    *("kms", "sqs", "sns", "kinesis-streams", "logs", "sts", "events", "states", "glue", "athena"),
    *("ecr.api", "ecr.dkr", "secretsmanager", "monitoring", "ssmmessages"),
}


# Calls whose right IAM names otherwise: a batch asks for the right of its single calls, a transaction for its items'.
RIGHTS = {
    "TransactWriteItems": ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"),
    "ListObjectVersions": ("ListBucketVersions",),
    **{f"{one}Batch": (one,) for one in ("ChangeMessageVisibility", "DeleteMessage", "SendMessage")},
}
SERVICES = {
    "kinesis": "kinesis-streams",
    "cloudwatch": "monitoring",
}  # where an endpoint is called otherwise than the client


def network(**parameters: str) -> Stack:
    return template("network").deploy({"Suffix": "town", "AWS::AccountId": "1", **parameters})


def endpoints(stack: Stack) -> dict[str, Resource]:
    found = stack.resources("AWS::EC2::VPCEndpoint")
    return {re.sub(r"^com\.amazonaws\.[^.]+\.", "", one.properties["ServiceName"]): one for one in found}


def test_the_list_of_endpoints_is_complete() -> None:
    kinds = {name: one.properties["VpcEndpointType"] for name, one in endpoints(network()).items()}
    assert kinds == dict.fromkeys(GATEWAYS, "Gateway") | dict.fromkeys(INTERFACES, "Interface")


@pytest.mark.parametrize("service", sorted(GATEWAYS | INTERFACES))
def test_an_endpoint_lets_this_account_do_named_things(service: str) -> None:
    for one in endpoints(network())[service].properties["PolicyDocument"]["Statement"]:
        actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        assert not [action for action in actions if "*" in action]
        unlimited = service in {"sts", "monitoring", "ecr.api", "ecr.dkr", "ssmmessages"}
        assert one["Resource"] != "*" or unlimited or actions == ["logs:DescribeLogGroups"]
        mine = one.get("Condition") == {"StringEquals": {"aws:PrincipalAccount": "1"}}
        assert mine or one["Sid"] == "LayersOfContainerImages"


@pytest.mark.parametrize("module", sorted((ROOT / "city_platform" / "aws").glob("*.py")), ids=lambda path: path.stem)
def test_an_endpoint_lets_through_what_the_adapters_call(module: Path) -> None:
    source = module.read_text("utf-8")
    for service in set(re.findall(r'boto3\.client\(\s*"(\w+)"', source)):
        operations = {xform_name(one): one for one in Loader().load_service_model(service, "service-2")["operations"]}
        called = [operations[one] for one in re.findall(r"\.(\w+)\(", source) if one in operations]
        called += [operations[one] for one in re.findall(r'get_paginator\("(\w+)"', source)]
        rights = {f"{service}:{right}" for one in called for right in RIGHTS.get(one, (one,))}
        assert rights <= allowed(SERVICES.get(service, service)), f"{module.name} calls more of {service}"


def allowed(service: str) -> set[str]:
    found = endpoints(network())[service].properties["PolicyDocument"]["Statement"]
    actions = [one["Action"] for one in found if one["Effect"] == "Allow" and one["Principal"] == "*"]
    return {one for each in actions for one in ([each] if isinstance(each, str) else each)}


def test_endpoints_of_buckets_lead_to_the_platforms_and_to_images() -> None:
    lake, images = endpoints(network(**{"AWS::Partition": "aws", "AWS::Region": "xx-1"}))["s3"].properties[
        "PolicyDocument"
    ]["Statement"]
    assert lake["Resource"] == ["arn:aws:s3:::cov-*-town", "arn:aws:s3:::cov-*-town/*"]
    objects = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:AbortMultipartUpload"}
    assert objects <= set(lake["Action"])
    assert (images["Action"], images["Resource"]) == ("s3:GetObject", "arn:aws:s3:::prod-xx-1-starport-layer-bucket/*")


def test_endpoints_are_in_every_private_subnet_under_the_names_that_clients_use() -> None:
    for zones, subnets in (("false", "AB"), ("true", "ABC")):
        for one in endpoints(network(ThirdZone=zones)).values():
            given = one.properties
            assert given["VpcId"] == "${Vpc}"
            if given["VpcEndpointType"] == "Gateway":
                assert given["RouteTableIds"] == ["${PrivateRoutes}"]
                continue
            assert given["SubnetIds"] == [f"${{PrivateSubnet{name}}}" for name in subnets]
            assert given["SecurityGroupIds"] == ["${EndpointSecurityGroup}"]
            assert given["PrivateDnsEnabled"] is True


def test_private_subnets_are_in_different_zones_and_ranges() -> None:
    two = network()
    assert two.exports["city-platform-dev-PrivateSubnetIds"] == "${PrivateSubnetA},${PrivateSubnetB}"
    three = network(ThirdZone="true", InternetEgress="nat")
    assert three.exports["city-platform-dev-PrivateSubnetIds"].count(",") == 2
    subnets = three.resources("AWS::EC2::Subnet")
    assert len({one.properties["CidrBlock"] for one in subnets}) == len(subnets) == 4
    private = [one.properties["AvailabilityZone"] for one in subnets if one.name.startswith("Private")]
    assert len(set(private)) == 3
    assert not any(one.properties["MapPublicIpOnLaunch"] for one in subnets)


def test_nothing_leads_out_unless_it_is_asked_for() -> None:
    way_out = re.compile(r"InternetGateway|NatGateway|EIP|EC2::Route$")
    assert not [one for one in network().resources() if way_out.search(one.kind)]
    routes = network(InternetEgress="nat").resources("AWS::EC2::Route")
    ways = {
        one.properties["RouteTableId"]: (one.properties.get("GatewayId"), one.properties.get("NatGatewayId"))
        for one in routes
        if one.properties["DestinationCidrBlock"] == "0.0.0.0/0"
    }
    assert ways == {"${PublicRoutes}": ("${InternetGateway}", None), "${PrivateRoutes}": (None, "${NatGateway}")}


def test_workloads_call_and_endpoints_answer_over_tls_alone() -> None:
    stack = network()
    tls = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    workload, endpoint = (stack[f"{name}SecurityGroup"].properties for name in ("Workload", "Endpoint"))
    (leaves,), (enters,) = workload["SecurityGroupEgress"], endpoint["SecurityGroupIngress"]
    assert tls.items() <= leaves.items()
    assert (tls | {"SourceSecurityGroupId": "${WorkloadSecurityGroup}"}).items() <= enters.items()
    assert "SecurityGroupIngress" not in workload
    assert [one["CidrIp"] for one in endpoint["SecurityGroupEgress"]] == ["127.0.0.1/32"]
    assert workload["VpcId"] == endpoint["VpcId"] == "${Vpc}"
    names = [stack["Vpc"].properties[name] for name in ("EnableDnsHostnames", "EnableDnsSupport")]
    assert names == [True, True], "or clients do not find the endpoints"


def test_all_flows_are_logged_by_a_role_that_can() -> None:
    stack = network()
    log = stack["FlowLog"].properties
    assert (log["ResourceType"], log["ResourceId"], log["TrafficType"]) == ("VPC", "${Vpc}", "ALL")
    assert (log["LogGroupName"], log["DeliverLogsPermissionArn"]) == ("${FlowLogGroup}", "${FlowLogRole.Arn}")
    assert assumed_by(stack["FlowLogRole"]) == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert {"logs:CreateLogStream", "logs:PutLogEvents"} <= granted(stack["FlowLogRole"])["${FlowLogGroup.Arn}"]


def test_the_default_security_group_is_closed_by_a_function_that_can() -> None:
    stack = network(**{"AWS::Partition": "aws", "AWS::Region": "xx-1"})
    assert stack["DefaultSecurityGroup"].properties == {
        "ServiceToken": "${ClosingFunction.Arn}",
        "ServiceTimeout": 120,
        "GroupId": "${Vpc.DefaultSecurityGroup}",
    }
    function = stack["ClosingFunction"]
    assert function.properties["Handler"] == "index.handler"
    assert function.body["DependsOn"] == "ClosingLogGroup", "Lambda makes the group itself otherwise"
    assert assumed_by(stack["ClosingRole"]) == {"Service": "lambda.amazonaws.com"}
    rights = granted(stack["ClosingRole"])
    revoke = {"ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"}
    assert rights["arn:aws:ec2:xx-1:1:security-group/${Vpc.DefaultSecurityGroup}"] == revoke
    assert rights["arn:aws:ec2:xx-1:1:security-group-rule/*"] == revoke
    assert rights["${ClosingLogGroup.Arn}"] == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert rights["*"] == {"ec2:DescribeSecurityGroupRules", "xray:PutTelemetryRecords", "xray:PutTraceSegments"}


def assumed_by(role: Resource) -> object:
    (trust,) = role.properties["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Effect"], trust["Action"]) == ("Allow", "sts:AssumeRole")
    return trust["Principal"]


def granted(role: Resource) -> dict[str, set[str]]:
    """What a role may do, by what it may do it to."""
    found: dict[str, set[str]] = {}
    for policy in role.properties["Policies"]:
        for one in policy["PolicyDocument"]["Statement"]:
            for resource in one["Resource"] if isinstance(one["Resource"], list) else [one["Resource"]]:
                actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
                found.setdefault(resource, set()).update(actions)
    return found

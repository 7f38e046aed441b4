"""network.yaml: nothing leads out unless it is asked for, and endpoints let through what the platform does."""

import re

import pytest

from tests.templates import Resource, Stack, template

GATEWAYS = {"s3", "dynamodb"}
# A32, and what containers in a private subnet need besides: images, secrets, metrics, sessions of those who look in.
INTERFACES = {
    *("kms", "sqs", "sns", "kinesis-streams", "logs", "sts", "events", "states", "glue", "athena"),
    *("ecr.api", "ecr.dkr", "secretsmanager", "monitoring", "ssmmessages"),
}


def network(**parameters: str) -> Stack:
    return template("network").deploy({"Suffix": "town", "AWS::AccountId": "1", **parameters})


def endpoints(stack: Stack) -> dict[str, Resource]:
    found = stack.resources("AWS::EC2::VPCEndpoint")
    return {one.properties["ServiceName"].removeprefix("com.amazonaws.${AWS::Region}."): one for one in found}


def test_the_list_of_endpoints_is_complete() -> None:
    kinds = {name: one.properties["VpcEndpointType"] for name, one in endpoints(network()).items()}
    assert kinds == dict.fromkeys(GATEWAYS, "Gateway") | dict.fromkeys(INTERFACES, "Interface")


@pytest.mark.parametrize("service", sorted(GATEWAYS | INTERFACES))
def test_an_endpoint_lets_this_account_do_named_things(service: str) -> None:
    for one in endpoints(network())[service].properties["PolicyDocument"]["Statement"]:
        actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        assert not [action for action in actions if "*" in action]
        assert one["Resource"] != "*" or service in {"sts", "monitoring", "ecr.api", "ecr.dkr", "ssmmessages"}
        mine = one.get("Condition") == {"StringEquals": {"aws:PrincipalAccount": "1"}}
        assert mine or one["Sid"] == "LayersOfContainerImages"


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
    assert {one.properties["RouteTableId"]: one.properties.get("NatGatewayId") for one in routes} == {
        "${PublicRoutes}": None,
        "${PrivateRoutes}": "${NatGateway}",
    }


def test_endpoints_take_calls_from_workloads_alone() -> None:
    (rule,) = network()["EndpointSecurityGroup"].properties["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["SourceSecurityGroupId"]) == (443, "${WorkloadSecurityGroup}")
    assert "SecurityGroupIngress" not in network()["WorkloadSecurityGroup"].properties


def test_all_flows_are_logged() -> None:
    log = network()["FlowLog"].properties
    assert (log["ResourceId"], log["TrafficType"]) == ("${Vpc}", "ALL")

"""Sensors and gateways on AWS IoT: what their policies let them do, and what the rules make of what they say."""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pybase64
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from city_platform.functions import traffic_provisioning
from city_platform.traffic.handler import Outcome, TrafficHandler
from city_platform.traffic.telemetry import Reason
from city_platform.traffic.topics import may_publish, parse_topic
from tests.iot_policies import Device, NotUnderstood, allowed
from tests.iot_sql import Rule, Undocumented, substituted
from tests.templates import template
from tests.traffic import NOON, TOWN, Letters, MemoryState, Told, columns, event, record

PLACE = {"AWS::Partition": "aws", "AWS::Region": "xx", "AWS::AccountId": "account", "SensorType": "sensor"}
PLACE |= {"GatewayType": "gateway", "FramesRule": "frames"}


TRAFFIC = template("iot-analytics-system")
STACK = TRAFFIC.deploy()
RULES = {one.name: Rule.of(one.properties["TopicRulePayload"]["Sql"]) for one in STACK.resources("AWS::IoT::TopicRule")}


@cache
def policy(name: str) -> Mapping[str, Any]:
    document = TRAFFIC.resource(name).properties["PolicyDocument"]
    found: Mapping[str, Any] = TRAFFIC.resolve(document, PLACE | {"Environment": "dev"})
    return found


def sensor(number: int = 0, **changes: Any) -> Device:
    name = f"s-{TOWN.number[number]:05d}"
    zone = TOWN.zones[TOWN.zone[number]]
    return Device(**{"client": name, "thing": name, "kind": "sensor", "attributes": {"zone": zone}} | changes)


def gateway(serves: str) -> Device:
    return Device(f"gw-{serves}", f"gw-{serves}", "gateway", {"serves": serves})


PARTS = st.sampled_from(
    ["z-0", "z-000", "z-001", "s-00000", "s-00001", "s-00011", "frame", "telemetry", "cmd", "#", "+"]
)
TOPICS = st.one_of(
    st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/".join(["city", "dev", "traffic", *parts])),
    st.sampled_from(["city", "city/dev/#", "#", "$aws/things/s-00000/shadow/update", "$aws/rules/frames/x"]),
    st.tuples(st.sampled_from(["dev", "prod"]), PARTS, PARTS).map(
        lambda parts: f"city/{parts[0]}/traffic/{parts[1]}/{parts[2]}/telemetry"
    ),
)
ACTIONS = ("iot:Publish", "iot:Receive", "iot:Subscribe")


@settings(max_examples=100)
@given(st.integers(0, 11), TOPICS)
def test_a_sensor_may_publish_on_its_own_topic_of_its_own_zone_and_on_no_other(number: int, topic: str) -> None:
    who = sensor(number)
    own = f"city/dev/traffic/{who.attributes['zone']}/{who.thing}/telemetry"
    assert allowed([policy("SensorPolicy")], who, "iot:Publish", own)
    assert may_publish(who.thing, own, "dev")
    for near in (f"{who.attributes['zone']}9", f"{who.attributes['zone']}/x", f"x/{who.attributes['zone']}"):
        other = f"city/dev/traffic/{near}/{who.thing}/telemetry"
        assert not allowed([policy("SensorPolicy")], who, "iot:Publish", other)
    assert allowed([policy("SensorPolicy")], who, "iot:Publish", topic) == (topic == own)


@settings(max_examples=100)
@given(st.sampled_from(["z-0", "z-00", "z-000", "z-002"]), TOPICS)
def test_a_gateway_may_publish_what_the_local_broker_lets_it(serves: str, topic: str) -> None:
    granted = allowed([policy("GatewayPolicy")], gateway(serves), "iot:Publish", topic)
    if parse_topic(topic) is None:
        assert not (granted and delivered(topic, b"{}"))
    else:
        assert granted == may_publish(f"gw-{serves}", topic, "dev")


@settings(max_examples=100)
@given(st.sampled_from(["SensorPolicy", "GatewayPolicy"]), st.sampled_from(ACTIONS[1:]), TOPICS)
def test_nobody_may_listen(name: str, action: str, topic: str) -> None:
    who = sensor() if name == "SensorPolicy" else gateway("z-0")
    assert not allowed([policy(name)], who, action, topic)


def test_everybody_connects_under_the_own_name_and_with_the_own_certificate() -> None:
    for name, who in (("SensorPolicy", sensor()), ("GatewayPolicy", gateway("z-0"))):
        own = [policy(name)]
        assert allowed(own, who, "iot:Connect", who.thing)
        assert not allowed(own, who, "iot:Connect", "s-00001")
        elsewhere = Device("s-00001", who.thing, who.kind, who.attributes)
        loose = Device(who.client, who.thing, who.kind, who.attributes, attached=False)
        for other in (elsewhere, loose):
            assert not allowed(own, other, "iot:Connect", other.client)
            assert not allowed(own, other, "iot:Publish", f"city/dev/traffic/z-000/{who.thing}/telemetry")


def test_a_things_type_and_attributes_decide_what_a_policy_gives() -> None:
    topic = "city/dev/traffic/z-000/s-00000/telemetry"
    assert allowed([policy("SensorPolicy")], sensor(), "iot:Publish", topic)
    assert not allowed([policy("SensorPolicy")], sensor(kind="gateway"), "iot:Publish", topic)
    assert not allowed([policy("SensorPolicy")], sensor(attributes={}), "iot:Publish", topic)
    assert not allowed([policy("SensorPolicy")], sensor(attributes={"zone": "*"}), "iot:Publish", topic)
    assert not allowed([policy("GatewayPolicy")], sensor(), "iot:AssumeRoleWithCertificate", "x")


def test_only_a_gateway_goes_past_the_broker_and_only_with_frames() -> None:
    frame, message = (f"$aws/rules/frames/city/dev/traffic/z-001/{rest}" for rest in ("frame", "s-00001/telemetry"))
    assert allowed([policy("GatewayPolicy")], gateway("z-0"), "iot:Publish", frame)
    assert not allowed([policy("GatewayPolicy")], gateway("z-002"), "iot:Publish", frame)
    assert not allowed([policy("GatewayPolicy")], gateway("z-0"), "iot:Publish", message)
    assert not allowed([policy("SensorPolicy")], sensor(), "iot:Publish", message)


def test_a_claim_certificate_asks_for_an_identity_and_does_nothing_else() -> None:
    claim = Device("claim-7", "", "", attached=False)
    ask = "$aws/provisioning-templates/city-platform-dev-traffic/provision/json"
    for action in ("iot:Publish", "iot:Receive"):
        assert allowed([policy("ClaimPolicy")], claim, action, "$aws/certificates/create-from-csr/json")
        assert allowed([policy("ClaimPolicy")], claim, action, ask)
    assert allowed([policy("ClaimPolicy")], claim, "iot:Subscribe", f"{ask}/accepted")
    assert not allowed([policy("ClaimPolicy")], claim, "iot:Publish", "city/dev/traffic/z-000/s-00000/telemetry")
    assert not allowed([policy("ClaimPolicy")], claim, "iot:Subscribe", "#")
    assert not allowed([policy("ClaimPolicy")], claim, "iot:Connect", "s-00000")


def test_the_evaluation_knows_denials_wildcards_and_what_it_does_not_know() -> None:
    def document(effect: str, resource: str, **more: Any) -> dict[str, Any]:
        return {"Statement": [{"Effect": effect, "Action": "iot:*", "Resource": f"arn:a:iot:r:1:{resource}", **more}]}

    everything = document("Allow", "*")
    assert allowed([document("Allow", "topic/a*")], sensor(), "iot:Publish", "a/b/c")
    assert not allowed([document("Allow", "topic/a?")], sensor(), "iot:Publish", "a/b")
    assert not allowed([document("Allow", "topicfilter/a/+")], sensor(), "iot:Subscribe", "a/b")
    assert allowed([everything], sensor(), "iot:Subscribe", "a/#")
    assert not allowed([everything, document("Deny", "topic/a")], sensor(), "iot:Publish", "a")
    with pytest.raises(NotUnderstood):
        allowed([document("Allow", "*", Condition={"IpAddress": {"iot:ClientId": "x"}})], sensor(), "iot:Publish", "a")
    with pytest.raises(NotUnderstood):
        allowed([document("Allow", "topic/${iot:Certificate.Subject.CommonName}")], sensor(), "iot:Publish", "a")


# Rules.


def delivered(topic: str, payload: bytes) -> list[dict[str, Any]]:
    """What the template's rules put into the stream of a message, as Lambda gets it."""
    found = []
    for name, rule in RULES.items():
        data = rule.select(topic, payload)
        if data is not None:
            (action,) = STACK[name].properties["TopicRulePayload"]["Actions"]
            key = substituted(action["Kinesis"]["PartitionKey"], topic)
            found.append(record(data, len(found), partitionKey=key))
    return found


def handled(records: Sequence[Mapping[str, Any]]) -> tuple[Outcome, Letters]:
    letters = Letters()
    handler = TrafficHandler(TOWN, MemoryState(), letters, lambda: NOON + 3_000)
    return handler.handle(event(*records)), letters


def message(number: int = 0, **changes: Any) -> bytes:
    return json.dumps(Told(number, 100, NOON + 1_000, 45).line() | changes).encode()


OWN = f"city/dev/traffic/{TOWN.zones[0]}/s-00000/telemetry"
BARE = {
    "sensor_id": "s-00000",
    "ts": "2026-05-28T20:26:41Z",
    "vehicle_count": 3,
    "speed": 40.5,
    "congestion_index": 0.1,
}


@pytest.mark.parametrize(
    "payload",
    [
        message(),
        json.dumps(BARE).encode(),
        json.dumps({"v": 1, "sensor_id": "s-00000", "zone_id": TOWN.zones[0], "readings": [BARE]}).encode(),
    ],
)
def test_every_form_of_message_is_counted(payload: bytes) -> None:
    (one,) = delivered(OWN, payload)
    assert one["kinesis"]["partitionKey"] == "s-00000"
    outcome, letters = handled([one])
    assert (outcome.accepted, outcome.rejected, letters.kept) == (1, {}, {})


def test_frames_are_counted_under_their_zones_key_and_come_as_they_were_sent() -> None:
    frame = columns([Told(0, 100, NOON + 1_000, 45)])
    for rule, topic in (
        (None, f"city/dev/traffic/{TOWN.zones[0]}/frame"),
        ("FramesRule", "anything/at/all/z-000/frame"),
    ):
        if rule:
            assert RULES[rule].select(topic, frame, basic_ingest=True) == frame
            continue
        (one,) = delivered(topic, frame)
        assert pybase64.b64decode(one["kinesis"]["data"]) == frame
        assert one["kinesis"]["partitionKey"] == TOWN.zones[0]
        assert handled([one])[0].accepted == 1
    (foreign,) = delivered(f"city/dev/traffic/{TOWN.zones[1]}/frame", frame)
    assert handled([foreign])[0].rejected == {Reason.ZONE: 1}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (message(1), Reason.TOPIC),
        (message(1, topic_sensor="s-00001", topic_zone=TOWN.zones[0]), Reason.TOPIC),
        (message(zone_id=TOWN.zones[1]), Reason.TOPIC),
        (columns([Told(1, 100, NOON + 1_000, 45)]), Reason.TOPIC),
        (b"rubbish", Reason.SCHEMA),
        (b"", Reason.SCHEMA),
        (b"[1, 2]", Reason.SCHEMA),
        (b'{"vehicle_count": 1}', Reason.SCHEMA),
        (b"\xff\x00", Reason.SCHEMA),
    ],
)
def test_what_a_sensor_may_not_say_is_kept_with_its_reason(payload: bytes, reason: Reason) -> None:
    """Whatever it claims about its topic: the broker has checked that, and the rule's fields and key say it."""
    (one,) = delivered(OWN, payload)
    outcome, letters = handled([one])
    assert (outcome.accepted, outcome.rejected) == (0, {reason: 1})
    (letter,) = letters.kept.values()
    if b"sensor_id" not in payload:
        assert pybase64.b64decode(letter.data) == payload


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["sensor_id", "ts", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=80)
@given(st.one_of(st.binary(max_size=40), JSON))
def test_every_message_on_a_sensors_topic_takes_exactly_one_way(payload: bytes) -> None:
    assert len(delivered(OWN, payload)) == 1


@settings(max_examples=100)
@given(st.one_of(TOPICS, st.from_regex(r"city/dev/traffic/[a-z0-9/#+é -]{1,20}(/telemetry|/frame)?", fullmatch=True)))
def test_the_rules_hear_the_topics_there_are_and_no_others(topic: str) -> None:
    assume("\n" not in topic)
    source = parse_topic(topic)
    expected = source is not None and source.environment == "dev"
    assert len(delivered(topic, message())) == expected


def test_the_interpreter_finds_what_is_not_documented() -> None:
    wrong = Rule.of("SELECT *, topic(1) AS first FROM 'a/#'")
    with pytest.raises(Undocumented):
        wrong.select("a/b", b"no JSON")
    assert wrong.select("b", b"{}") is None
    assert wrong.select("a/b", b'{"first": 1}') == b'{"first": "a"}'
    with pytest.raises(Undocumented):
        Rule.of("SELECT * FROM 'a' WHERE abs(x) > 1").select("a", b"{}")


def test_what_a_rule_cannot_put_into_the_stream_is_kept() -> None:
    for rule in STACK.resources("AWS::IoT::TopicRule"):
        payload = rule.properties["TopicRulePayload"]
        assert payload["RuleDisabled"] is False
        assert payload["AwsIotSqlVersion"] == "2016-03-23"
        assert [list(action) for action in payload["Actions"]] == [["Kinesis"]]
        kept = payload["ErrorAction"]["S3"]
        assert kept["BucketName"] == "${TrafficBucket}"
        assert kept["Key"].startswith("traffic/undelivered/${topic(4)}/")
        assert "${newuuid()}" in kept["Key"]


# Provisioning.


def test_a_sensor_is_provisioned_as_the_registry_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = json.loads(STACK["Provisioning"].properties["TemplateBody"])
    asked = {traffic_provisioning.SENSOR_ID, traffic_provisioning.ZONE, "AWS::IoT::Certificate::Id"}
    assert set(made["Parameters"]) == asked
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:12:3")
    traffic_provisioning.registry.cache_clear()
    said = {"SensorId": "s-00004", "Zone": "z-999"}
    answer = traffic_provisioning.handler({"parameters": said}, None)
    traffic_provisioning.registry.cache_clear()
    given = {**said, **answer["parameterOverrides"]}
    thing = made["Resources"]["thing"]
    assert thing["Properties"]["ThingName"] == {"Ref": "SensorId"}
    attributes = {name: given[value["Ref"]] for name, value in thing["Properties"]["AttributePayload"].items()}
    name = thing["Properties"]["ThingTypeName"]
    who = Device("s-00004", "s-00004", {"${SensorType}": "sensor"}[name], attributes)
    zone = TOWN.zones[TOWN.zone[4]]
    assert allowed([policy("SensorPolicy")], who, "iot:Publish", f"city/dev/traffic/{zone}/s-00004/telemetry")
    # A claim certificate, which many have, must not take over a sensor that is there.
    assert set(thing["OverrideSettings"].values()) == {"FAIL"}
    assert made["Resources"]["policy"]["Properties"] == {"PolicyName": "${SensorPolicy}"}
    assert STACK["Provisioning"].properties["PreProvisioningHook"]["TargetArn"] == "${HookFunction.Arn}"
    assert STACK["HookFunction"].properties["Timeout"] == 5  # as long as AWS IoT waits


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iot:CreateThing", "thing/s-00001"),
        ("iot:AddThingToThingGroup", "thing/s-00001"),
        ("iot:AddThingToThingGroup", "${SensorGroup.Arn}"),
        ("iot:AttachThingPrincipal", "cert/0a1b"),
        ("iot:AttachPolicy", "cert/0a1b"),
        ("iot:UpdateCertificate", "cert/0a1b"),
    ],
)
def test_provisioning_may_make_sensors_and_nothing_else(action: str, resource: str) -> None:
    """Which resource an action is held to: Actions defined by AWS IoT, Service Authorization Reference."""
    (given,) = STACK["ProvisioningRole"].properties["Policies"]

    def may(action: str, resource: str) -> bool:
        return any(
            action in one["Action"]
            and any(fnmatchcase(resource, each.rpartition(":")[2]) for each in _listed(one["Resource"]))
            for one in given["PolicyDocument"]["Statement"]
        )

    assert may(action, resource)
    assert not may(action, resource.replace("s-00001", "gw-z-0").replace("cert", "policy").replace("Group", "Type"))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value

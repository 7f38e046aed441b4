"""The incident stack against the code that runs in it: neither may change without the other."""

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from city_platform.api.auth import Issuer
from city_platform.api.composition import open_api
from city_platform.aws.incidents import IncidentTables
from city_platform.aws.settings import BUCKETS
from city_platform.deployment import incidents as deployment
from city_platform.functions import sign_in
from city_platform.incidents import membership
from city_platform.incidents.contact import CONTACT_KEY
from city_platform.incidents.export import LEASE
from city_platform.incidents.pictures import BYTES_LIMIT
from city_platform.lake.zones import zone_of
from city_platform.protection.classification import master_keys
from tests import templates
from tests.incident_stack import PARAMETERS, table_definitions
from tests.templates import Resource, Stack, template, walk
from tests.town import ROOT, StandingClock, one_bucket

TEMPLATE = template("incidents")
MACHINE = json.loads((ROOT / "infrastructure/state_machines/incident_export.asl.json").read_text())
FUNCTION = "AWS::Lambda::Function"


def deployed(**parameters: str) -> Stack:
    return TEMPLATE.deploy(PARAMETERS | parameters)


STACK = deployed()
PREFIX = "city-platform-dev"


def refusals(**parameters: str) -> list[str]:
    """What CloudFormation would say of these parameters before it makes anything."""
    resolver = templates._Resolver(TEMPLATE, PARAMETERS | parameters)
    return [
        assertion["AssertDescription"]
        for rule in TEMPLATE.body["Rules"].values()
        if "RuleCondition" not in rule or resolver._holds(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not resolver._holds(assertion["Assert"])
    ]


def test_parameters_that_do_not_fit_together_are_refused() -> None:
    named = {"DomainName": "api.city.example", "CertificateArn": "c"}
    assert refusals() == refusals(Environment="prod", **named) == []
    assert [one.split(" ")[0] for one in refusals(Environment="staging", DomainName="api.city.example")] == ["staging"]
    (unprotected,) = refusals(Environment="prod", DeletionProtection="false", **named)
    assert "never deleted" in unprotected
    whole = {"IdentityProviderIssuer": "https://id.city.example", "IdentityProviderSecret": "idp"}
    assert len(refusals(IdentityProviderType="OIDC")) == 1
    assert len(refusals(IdentityProviderType="OIDC", IdentityProviderIssuer="https://id.city.example")) == 1
    assert refusals(IdentityProviderType="OIDC", **whole) == []
    assert len(refusals(IdentityProviderType="SAML", **whole)) == 1
    assert refusals(IdentityProviderType="SAML", IdentityProviderMetadataUrl="https://id.city.example/m") == []


# Tables


def by_name(definitions: Any) -> Mapping[str, Any]:
    """Definitions of tables whose order of attributes and indexes does not matter."""
    found = {}
    for one in definitions:
        attributes = {(each["AttributeName"], each["AttributeType"]) for each in one["AttributeDefinitions"]}
        indexes = {each["IndexName"]: each for each in one.get("GlobalSecondaryIndexes", ())}
        found[one["TableName"]] = {**one, "AttributeDefinitions": attributes, "GlobalSecondaryIndexes": indexes}
    return found


def test_tables_have_the_keys_indexes_and_stream_that_the_code_uses() -> None:
    assert by_name(table_definitions("city-platform")) == by_name(IncidentTables(PREFIX).definitions())


def test_items_expire_by_the_attribute_that_the_code_writes() -> None:
    expiring = {
        table.properties["TableName"]: table.properties["TimeToLiveSpecification"]
        for table in STACK.resources("AWS::DynamoDB::Table")
        if "TimeToLiveSpecification" in table.properties
    }
    wanted = IncidentTables(PREFIX).expiring()
    assert expiring == {name: {"AttributeName": attribute, "Enabled": True} for name, attribute in wanted.items()}


@pytest.mark.parametrize("mode", ["KMS", "SSE-S3"])
def test_tables_can_be_restored_and_are_encrypted_in_both_modes(mode: str) -> None:
    for table in deployed(EncryptionMode=mode).resources("AWS::DynamoDB::Table"):
        said = table.properties
        assert said["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert said["DeletionProtectionEnabled"] == "true"
        encryption = said["SSESpecification"]
        # AWS encrypts with AES-256 under a key of its own where nothing else is asked for.
        assert encryption["SSEEnabled"] is (mode == "KMS")
        assert ("PersonalKeyArn" in encryption.get("KMSMasterKeyId", "")) is (mode == "KMS")


# Queues, topic, keys


def test_queues_are_called_as_the_code_calls_them(tmp_path: Path) -> None:
    environ = one_bucket("b") | {
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        "CITY_PLATFORM_TABLES": PREFIX,
        "CITY_PLATFORM_ALERTS_TOPIC": "t",
        "AWS_REGION": "r",
    }
    _, *queues = deployment._queues(tmp_path, StandingClock(), environ)
    names = {name: STACK[name].properties["QueueName"] for name in ("ExportJobs", "DeadJobs", "DeadChanges")}
    assert list(names.values()) == [one._name for one in queues]  # type: ignore[attr-defined]  # all of SQS
    jobs = STACK["ExportJobs"].properties
    assert timedelta(seconds=int(jobs["VisibilityTimeout"])) >= LEASE
    assert jobs["RedrivePolicy"]["deadLetterTargetArn"] == "${DeadJobs.Arn}"
    (source,) = STACK["DeadJobs"].properties["RedriveAllowPolicy"]["sourceQueueArns"]
    assert source.endswith(f":{jobs['QueueName']}")
    assert STACK.exports[f"{PREFIX}-IncidentDeadLettersQueueName"] == "${DeadChanges.QueueName}"
    undelivered: Any = deployment._undelivered(environ)
    assert undelivered._queue._name == STACK["UndeliveredChanges"].properties["QueueName"]


def test_whole_records_are_under_the_key_of_personal_data() -> None:
    key = f"${{import:{PREFIX}-PersonalKeyArn}}"
    assert STACK["DeadChanges"].properties["KmsMasterKeyId"] == key
    assert deployed(StreamToKinesis="yes")["ChangeStream"].properties["StreamEncryption"]["KeyId"] == key


def test_there_are_the_keys_that_the_code_asks_for_by_name() -> None:
    names = {one.properties["AliasName"] for one in STACK.resources("AWS::KMS::Alias")}
    assert names == {CONTACT_KEY, deployment.SERVICE_KEY}
    others = {one.properties["AliasName"] for one in template("key-aliases").resources("AWS::KMS::Alias")}
    assert set(master_keys("incidents")) <= others
    assert not names & others


def test_somebody_hears_of_critical_incidents() -> None:
    subscription = STACK["CriticalSubscription"].properties
    assert subscription["TopicArn"] == "${AlertsTopic}"
    assert subscription["Endpoint"] == PARAMETERS["CriticalAlertEmail"]


# Functions


def functions() -> Iterator[tuple[str, Resource]]:
    for one in deployed(TrafficTableName="t").resources(FUNCTION):
        yield one.properties["Handler"], one


def test_every_function_of_incidents_is_there_and_can_be_called() -> None:
    handlers = dict(functions())
    for handler in handlers:
        module, _, name = handler.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    folder = ROOT / "city_platform" / "functions"
    ours = {
        file.stem
        for file in folder.glob("*.py")
        if "def handler(" in file.read_text() and not file.stem.startswith("traffic")
    }
    assert {handler.split(".")[-2] for handler in handlers} == ours


def test_each_function_has_a_role_of_its_own_and_a_log_that_it_may_write() -> None:
    roles = [one.properties["Role"] for _, one in functions()]
    assert len(set(roles)) == len(roles)
    logs = {one.properties["LogGroupName"]: one.name for one in STACK.resources("AWS::Logs::LogGroup")}
    writable = STACK["FunctionBasics"].properties["PolicyDocument"]["Statement"][0]["Resource"].split(":log-group:")[1]
    for _, one in functions():
        log = f"/aws/lambda/{one.properties['FunctionName']}"
        assert logs[log] == one.body["DependsOn"]
        assert re.fullmatch(writable.replace("*", ".*"), f"{log}:stream")


def test_buckets_let_the_roles_in() -> None:
    names = {
        each["aws:PrincipalArn"].rpartition("/")[2]
        for policy in template("foundation").deploy(RestrictToVpc="true", Suffix="x").resources("AWS::S3::BucketPolicy")
        for each in walk(policy.properties)
        if isinstance(each, dict) and "aws:PrincipalArn" in each
    }
    assert names
    for role in STACK.resources("AWS::IAM::Role"):
        assert all(re.fullmatch(name.replace("*", ".*"), role.properties["RoleName"]) for name in names)


def test_objects_are_sought_in_the_bucket_of_their_zone() -> None:
    found = re.compile(rf":s3:::\$\{{import:{PREFIX}-(\w+)Bucket\}}/(.+)")
    seen = 0
    for role in STACK.resources("AWS::IAM::Role"):
        for text in walk(role.properties.get("Policies", [])):
            if isinstance(text, str) and (place := found.search(text)):
                seen += 1
                assert zone_of(place[2]).name == place[1].upper(), (role.name, text)
    assert seen > 15
    for role in STACK.resources("AWS::IAM::Role"):
        for each in walk(role.properties.get("Policies", [])):
            if isinstance(each, dict) and each.get("Action") == ["s3:ListBucket"]:
                bucket = each["Resource"].rpartition("-")[2].removesuffix("Bucket}").upper()
                prefixes = each["Condition"]["StringLikeIfExists"]["s3:prefix"]
                assert {zone_of(one).name for one in prefixes} == {bucket}, role.name


def test_the_buckets_are_given_as_the_code_reads_them() -> None:
    for handler, one in functions():
        given = one.properties["Environment"]["Variables"]
        if one.name != "SignInFunction":
            named = {zone: given[name] for zone, name in BUCKETS.items()}
            assert named == {z: f"${{import:{PREFIX}-{z.name.capitalize()}Bucket}}" for z in BUCKETS}, handler
            assert given["CITY_PLATFORM_TABLES"] == PREFIX


def test_live_traffic_is_shown_once_its_stack_is_there() -> None:
    name = "CITY_PLATFORM_TRAFFIC_TABLE"
    assert name not in STACK["ApiFunction"].properties["Environment"]["Variables"]
    later = deployed(TrafficTableName="t", TrafficKeyArn="k")
    assert later["ApiFunction"].properties["Environment"]["Variables"][name] == "t"
    readers = [each for each in walk(later["ApiRole"].properties) if isinstance(each, dict) and "Sid" in each]
    assert {"ReadTraffic", "UseTheTrafficTablesKey"} <= {each["Sid"] for each in readers}
    assert not {"ReadTraffic"} & {
        each.get("Sid") for each in walk(STACK["ApiRole"].properties) if isinstance(each, dict)
    }


@pytest.mark.parametrize("kinesis", ["no", "yes"])
def test_changes_come_by_one_way_and_what_fails_is_kept(kinesis: str) -> None:
    stack = deployed(StreamToKinesis=kinesis)
    sources = stack.resources("AWS::Lambda::EventSourceMapping")
    enabled = [one.properties["EventSourceArn"] for one in sources if one.properties.get("Enabled", True)]
    assert enabled == (["${ChangeStream.Arn}"] if kinesis == "yes" else ["${IncidentTable.StreamArn}"])
    assert ("KinesisStreamSpecification" in stack["IncidentTable"].properties) is (kinesis == "yes")
    for one in sources:
        said = one.properties
        assert said["FunctionName"] == "${StreamFunction}"
        assert said["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert said["BisectBatchOnFunctionError"] is True
        assert 0 < int(said["MaximumRetryAttempts"]) <= 10_000
        # What was given up has to be looked at while the stream still has it: for a day.
        assert int(said["MaximumRecordAgeInSeconds"]) <= timedelta(hours=12).total_seconds()
        assert said["DestinationConfig"]["OnFailure"]["Destination"] == "${UndeliveredChanges.Arn}"


# The export


def test_the_state_machine_is_the_one_that_was_tried() -> None:
    said = STACK["ExportStateMachine"].properties
    assert json.loads(TEMPLATE.resource("ExportStateMachine").properties["DefinitionString"]) == MACHINE
    named = set(re.findall(r"\$\{(\w+)\}", json.dumps(MACHINE)))
    assert said["DefinitionSubstitutions"] == dict.fromkeys(named, "${ExportFunction.Arn}")
    assert (said["LoggingConfiguration"]["Level"], said["TracingConfiguration"]) == ("ALL", {"Enabled": True})


def test_a_step_has_the_time_and_the_functions_that_the_state_machine_counts_on() -> None:
    states = [one for one in walk(MACHINE) if isinstance(one, dict) and one.get("Type") == "Task"]
    export = STACK["ExportFunction"].properties
    assert int(export["Timeout"]) >= max(one["TimeoutSeconds"] for one in states)
    at_once = MACHINE["States"]["Export"]["MaxConcurrency"]
    assert int(TEMPLATE.parameters["ExportConcurrency"]["MinValue"]) > at_once


def test_everything_that_runs_by_the_clock_is_kept_where_it_failed() -> None:
    stack = deployed(TrafficTableName="t")
    schedules = stack.resources("AWS::Scheduler::Schedule")
    targets = {one.properties["Target"]["Arn"] for one in schedules}
    functions = {f"${{{name}Function.Arn}}" for name in ("Deadlines", "Publishing", "Traffic")}
    assert targets == functions | {"${ExportStateMachine}"}
    allowed = [each for each in walk(stack["ScheduleRole"].properties) if isinstance(each, dict) and "Sid" in each]
    assert targets <= {each for statement in allowed for each in walk(statement["Resource"]) if isinstance(each, str)}
    for one in schedules:
        assert one.properties["Target"]["DeadLetterConfig"] == {"Arn": "${FailedRuns.Arn}"}
    for name in ("DeadlinesFunction", "PublishingFunction", "TrafficFunction"):
        assert stack[name].properties["DeadLetterConfig"] == {"TargetArn": "${FailedRuns.Arn}"}


# The API


def test_nothing_is_public_that_is_not_on_the_list(tmp_path: Path) -> None:
    app = open_api(tmp_path, {})
    needing = {
        f"{method.upper()} {path}"
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if {} not in operation["security"]
    }
    served = {f"{method} {route.path}" for route in app.state.served for method in route.methods}
    assert needing < served
    listed = TEMPLATE.resource("RestApi").body["Metadata"]["PublicOperations"]
    assert len(set(listed)) == len(listed)
    assert set(listed) == served - needing | {f"GET {app.openapi_url}"}


def test_the_gateway_answers_with_problems_and_logs_nobody() -> None:
    answers = STACK.resources("AWS::ApiGateway::GatewayResponse")
    assert {one.properties["ResponseType"] for one in answers} == {
        "THROTTLED", "WAF_FILTERED", "DEFAULT_4XX", "DEFAULT_5XX",
    }  # fmt: skip
    for one in answers:
        assert (
            one.properties["ResponseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        )
        text = one.properties["ResponseTemplates"]["application/json"].replace("$context.error.messageString", '"m"')
        assert {"type", "title", "detail", "request_id"} <= set(json.loads(text))
    waits = json.loads(STACK["Firewall"].properties["CustomResponseBodies"]["too-fast"]["Content"])
    assert waits["status"] == 429
    line = STACK["ApiStage"].properties["AccessLogSetting"]["Format"]
    logged = set(json.loads(line).values())
    assert "$context.requestId" in logged
    assert not any(re.search(r"ip|path|user|caller|authorizer", one, re.IGNORECASE) for one in logged)


def test_methods_wait_as_long_as_the_function_may_take_and_bodies_come_whole() -> None:
    for one in STACK.resources("AWS::ApiGateway::Method"):
        assert (
            int(one.properties["Integration"]["TimeoutInMillis"])
            == int(STACK["ApiFunction"].properties["Timeout"]) * 1000
        )
        assert one.properties["Integration"]["Type"] == "AWS_PROXY"
    assert STACK["RestApi"].properties["BinaryMediaTypes"] == ["*/*"]
    # Pictures go to the bucket by an address of its own, never through the gateway with its 10 MB.
    assert BYTES_LIMIT <= 10_000_000


@pytest.mark.parametrize(("origin", "taken"), [
    ("", True), ("https://app.city.example", True), ("https://app.city.example:8443", True), ("*", False),
    ("https://*", False), ("http://app.city.example", False), ("https://app.city.example/", False),
])  # fmt: skip
def test_other_sites_are_named_and_never_all(origin: str, taken: bool) -> None:
    pattern = TEMPLATE.parameters["AllowedOrigins"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, origin)) is taken


def test_the_firewall_limits_each_client_and_stands_before_api_and_sign_in() -> None:
    rules = {one["Name"]: one for one in STACK["Firewall"].properties["Rules"]}
    assert [one["Priority"] for one in rules.values()] == [0, 1, 2, 3, 4]
    limited = [one for one in rules.values() if "RateBasedStatement" in one["Statement"]]
    assert len(limited) == 2
    assert all(one["Statement"]["RateBasedStatement"]["AggregateKeyType"] == "IP" for one in limited)
    places = {one.properties["ResourceArn"] for one in STACK.resources("AWS::WAFv2::WebACLAssociation")}
    assert "${UserPool.Arn}" in places
    assert any(one.endswith("/restapis/${RestApi}/stages/${ApiStage}") for one in places)


def test_readers_are_led_to_the_name_of_the_api() -> None:
    named = deployed(DomainName="api.city.example", CertificateArn="c", HostedZoneId="z")
    assert named.exports[f"{PREFIX}-IncidentApiUrl"] == "https://api.city.example"
    for stack in (named, STACK):
        address = stack.exports[f"{PREFIX}-IncidentApiUrl"]
        for name in ("ApiFunction", "StreamFunction"):
            assert stack[name].properties["Environment"]["Variables"]["CITY_PLATFORM_PUBLIC_URL"] == address
    assert named["RestApi"].properties["DisableExecuteApiEndpoint"] is True
    assert "ApiRecord" in named.by_name
    assert not {"ApiDomain", "ApiMapping", "ApiRecord"} & set(STACK.by_name)


# People


def test_groups_are_the_roles_of_the_code() -> None:
    groups = {one.properties["GroupName"] for one in STACK.resources("AWS::Cognito::UserPoolGroup")}
    assert groups == membership.GROUPS
    order = sorted(STACK.resources("AWS::Cognito::UserPoolGroup"), key=lambda one: int(one.properties["Precedence"]))
    assert order[0].properties["GroupName"] == "admin"


@pytest.mark.parametrize("provider", ["none", "OIDC", "SAML"])
def test_no_client_can_make_somebody_staff(provider: str) -> None:
    stack = deployed(IdentityProviderType=provider)
    client = stack["UserPoolClient"].properties
    writable = set(client["WriteAttributes"])
    assert membership.DISTRICTS not in writable
    claimed = {membership.PROVIDER_GROUPS, membership.PROVIDER_DISTRICTS}
    assert writable & claimed == (set() if provider == "none" else claimed)
    # Tokens of federated accounts come from the hosted page; without this scope they cannot write attributes.
    assert "aws.cognito.signin.user.admin" not in client["AllowedOAuthScopes"]
    assert client["AllowedOAuthFlows"] == ["code"]
    found = stack.resources("AWS::Cognito::UserPoolIdentityProvider")
    assert [one.properties["ProviderType"] for one in found] == ([] if provider == "none" else [provider])
    assert client["SupportedIdentityProviders"] == ["COGNITO", *(f"${{{one.name}}}" for one in found)]
    for one in found:
        assert claimed < set(one.properties["AttributeMapping"])
        assert "{{resolve:secretsmanager:" in one.properties["ProviderDetails"].get(
            "client_secret", "{{resolve:secretsmanager:"
        )


def test_the_user_pool_asks_for_strong_passwords_and_calls_the_code_for_roles() -> None:
    pool = STACK["UserPool"].properties
    policy = pool["Policies"]["PasswordPolicy"]
    assert int(policy["MinimumLength"]) >= 12
    assert {policy[f"Require{one}"] for one in ("Lowercase", "Uppercase", "Numbers", "Symbols")} == {True}
    assert pool["LambdaConfig"]["PreTokenGenerationConfig"] == {
        "LambdaArn": "${SignInFunction.Arn}", "LambdaVersion": "V2_0",
    }  # fmt: skip
    assert pool["UsernameConfiguration"] == {"CaseSensitive": False}
    assert pool["EnabledMfas"] == ["SOFTWARE_TOKEN_MFA"]
    assert (pool["UserPoolTier"], deployed(ThreatProtection="OFF")["UserPool"].properties["UserPoolTier"]) == (
        "PLUS", "ESSENTIALS",
    )  # fmt: skip
    names = {f"custom:{one['Name']}" for one in pool["Schema"]}
    assert {membership.DISTRICTS, membership.PROVIDER_GROUPS, membership.PROVIDER_DISTRICTS} < names
    assert int(STACK["SignInFunction"].properties["Timeout"]) <= 5  # Cognito waits no longer
    assert membership.group_map_of(TEMPLATE.parameters["GroupMap"]["Default"]) == {}


def test_the_api_reads_the_tokens_of_this_pool() -> None:
    given = STACK["ApiFunction"].properties["Environment"]["Variables"]
    named = Issuer.of(given)
    assert named is not None
    issuer, keys = named
    assert (issuer.audience, issuer.districts_claim) == ("${UserPoolClient}", sign_in.DISTRICTS_CLAIM)
    assert keys == f"{issuer.issuer}/.well-known/jwks.json"
    assert issuer.issuer.startswith("https://cognito-idp.")
    assert issuer.issuer.endswith("/${UserPool}")


# Alarms


def test_whatever_can_go_wrong_has_an_alarm_that_somebody_hears() -> None:
    alarms = [one.properties for one in STACK.resources("AWS::CloudWatch::Alarm")]
    for one in alarms:
        assert one["AlarmActions"] == one["OKActions"] == [f"${{import:{PREFIX}-OperationsTopicArn}}"]
        assert int(one["DatapointsToAlarm"]) <= int(one["EvaluationPeriods"])
    watched = {
        (one["Namespace"], one["MetricName"], *sorted(each["Value"] for each in one["Dimensions"])) for one in alarms
    }
    assert len(watched) == len(alarms)
    wanted = {("AWS/Lambda", "Errors", f"${{{one.name}}}") for one in STACK.resources(FUNCTION)}
    for table in STACK.resources("AWS::DynamoDB::Table"):
        wanted |= {("AWS/DynamoDB", f"{way}ThrottleEvents", f"${{{table.name}}}") for way in ("Read", "Write")}
    for index in STACK["IncidentTable"].properties["GlobalSecondaryIndexes"]:
        wanted.add(("AWS/DynamoDB", "WriteThrottleEvents", "${IncidentTable}", index["IndexName"]))
    for queue in ("DeadJobs", "DeadChanges", "UndeliveredChanges", "FailedRuns"):
        wanted.add(("AWS/SQS", "ApproximateNumberOfMessagesVisible", f"${{{queue}.QueueName}}"))
    wanted |= {("AWS/States", f"Executions{how}", "${ExportStateMachine}") for how in ("Failed", "TimedOut")}
    wanted.add(("AWS/Lambda", "IteratorAge", "${StreamFunction}"))
    fixed = {tuple(sorted(one[2:])) + one[:2] for one in wanted}
    assert fixed <= {tuple(sorted(one[2:])) + one[:2] for one in watched}


def test_an_export_that_does_not_begin_is_noticed() -> None:
    alarm = STACK["ExportMissing"].properties
    rate = re.fullmatch(r"rate\((\d+) minutes\)", STACK["ExportSchedule"].properties["ScheduleExpression"])
    assert rate
    assert int(alarm["Period"]) > 2 * 60 * int(rate[1])
    assert (alarm["TreatMissingData"], alarm["ComparisonOperator"]) == ("breaching", "LessThanThreshold")

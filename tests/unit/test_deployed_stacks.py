"""What CloudFormation answers when something is wrong, and what the smoke test says of a deployed environment."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
import httpx2
import pytest
from botocore.stub import Stubber

from city_platform.infrastructure.parameters import Environment, EnvironmentFile
from city_platform.infrastructure.smoke import NothingDeployed, smoke
from city_platform.infrastructure.stacks import AwsUnavailable, ChangeSet, DeploymentRefused, StackFailed, Stacks

STACK, REGION = "city-platform-dev-store", "ca-central-1"
CHANGE_SET = "arn:aws:cloudformation:ca-central-1:123456789012:changeSet/deploy-1/x"
SESSION = botocore.session.get_session()


@pytest.fixture
def aws() -> Iterator[Stubber]:
    SESSION.set_credentials("testing", "testing")
    client = SESSION.create_client("cloudformation", region_name=REGION)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def stacks(aws: Stubber) -> Stacks:
    return Stacks(lambda _region: aws.client)


def described(aws: Stubber, status: str | None, **more: Any) -> None:
    if status is None:
        aws.add_client_error(
            "describe_stacks", "ValidationError", f"Stack with id {STACK} does not exist", http_status_code=400
        )
    else:
        stack = {"StackName": STACK, "CreationTime": "2026-01-01", "StackStatus": status, **more}
        aws.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": STACK})


def change_set(aws: Stubber, status: str, reason: str = "") -> None:
    answer = {"ChangeSetId": CHANGE_SET, "Status": status, "StatusReason": reason}
    aws.add_response("create_change_set", {"Id": CHANGE_SET})
    for _ in range(2):  # the waiter's look, and ours
        aws.add_response("describe_change_set", answer, {"ChangeSetName": CHANGE_SET, "StackName": STACK})


def propose(aws: Stubber) -> Any:
    return stacks(aws).propose(STACK, REGION, {"TemplateBody": "{}"}, {"A": "1"}, {"Project": "p"}, None)


def test_a_change_set_that_fails_is_removed_and_its_reason_told(aws: Stubber) -> None:
    described(aws, "UPDATE_COMPLETE")
    change_set(aws, "FAILED", "Parameters: [X] must have values")
    aws.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET, "StackName": STACK})
    with pytest.raises(StackFailed, match=r"Parameters: \[X\] must have values"):
        propose(aws)


def test_nothing_to_change_leaves_nothing_behind(aws: Stubber) -> None:
    described(aws, "UPDATE_COMPLETE")
    change_set(aws, "FAILED", "The submitted information didn't contain changes. Submit different information")
    aws.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET, "StackName": STACK})
    assert propose(aws).changes == []


def test_changes_tell_what_is_made_anew(aws: Stubber) -> None:
    described(aws, None)
    change_set(aws, "CREATE_COMPLETE")
    about = {"Action": "Modify", "LogicalResourceId": "Table", "ResourceType": "AWS::DynamoDB::Table"}
    changes = [{"Type": "Resource", "ResourceChange": {**about, "Replacement": how}} for how in ("True", "False")]
    aws.add_response(
        "describe_change_set",
        {"ChangeSetId": CHANGE_SET, "Status": "CREATE_COMPLETE", "Changes": changes},
        {"ChangeSetName": CHANGE_SET, "StackName": STACK},
    )
    found = propose(aws)
    assert found.creates
    assert [one.replaces for one in found.changes] == [True, False]


def test_a_stack_whose_creation_failed_is_removed_before_it_is_tried_again(aws: Stubber) -> None:
    described(aws, "ROLLBACK_COMPLETE")
    with pytest.raises(StackFailed, match="`deploy up` removes"):
        propose(aws)
    described(aws, "ROLLBACK_COMPLETE")
    described(aws, "ROLLBACK_COMPLETE")
    aws.add_response("delete_stack", {}, {"StackName": STACK})
    described(aws, None)
    assert stacks(aws).clear(STACK, REGION)
    for status in ("CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", None):  # these hold something, or are not there
        described(aws, status)
        assert not stacks(aws).clear(STACK, REGION)


def test_only_looking_at_a_stack_that_does_not_stand_leaves_no_empty_one(aws: Stubber) -> None:
    aws.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET, "StackName": STACK})
    described(aws, "REVIEW_IN_PROGRESS")
    aws.add_response("delete_stack", {}, {"StackName": STACK})
    stacks(aws).discard(ChangeSet(STACK, REGION, True, [], CHANGE_SET))
    # One that stands by now is somebody else's work.
    aws.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET, "StackName": STACK})
    described(aws, "CREATE_COMPLETE")
    stacks(aws).discard(ChangeSet(STACK, REGION, True, [], CHANGE_SET))


def test_a_failed_stack_names_the_resources_that_failed(aws: Stubber) -> None:
    aws.add_response("execute_change_set", {}, {"ChangeSetName": CHANGE_SET, "StackName": STACK})
    described(aws, "ROLLBACK_COMPLETE")
    common = {"StackId": "s", "EventId": "e", "StackName": STACK, "Timestamp": "2026-01-01"}
    whole = {**common, "LogicalResourceId": STACK, "PhysicalResourceId": "s"}
    cancelled = {"ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "Resource creation cancelled"}
    rolled_back = [{**common, "LogicalResourceId": f"R{n}", "ResourceStatus": "DELETE_COMPLETE"} for n in range(99)]
    newest = [{**whole, "ResourceStatus": "ROLLBACK_COMPLETE"}, *rolled_back]
    older = [
        {**common, **cancelled, "LogicalResourceId": "Table"},
        {**common, "LogicalResourceId": "Key", "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "no right"},
        {**whole, "ResourceStatus": "CREATE_IN_PROGRESS"},
        {**common, "LogicalResourceId": "Old", "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "long ago"},
    ]
    aws.add_response("describe_stack_events", {"StackEvents": newest, "NextToken": "n"}, {"StackName": STACK})
    aws.add_response("describe_stack_events", {"StackEvents": older}, {"StackName": STACK, "NextToken": "n"})
    with pytest.raises(StackFailed) as failure:
        stacks(aws).make(ChangeSet(STACK, REGION, True, [], CHANGE_SET), protected=True)
    assert str(failure.value) == f"{STACK} failed:\n  Key: no right"


def test_a_stack_that_stands_is_protected_where_it_should_be(aws: Stubber) -> None:
    for protected, before in ((True, False), (True, True), (False, True)):
        aws.add_response("execute_change_set", {}, {"ChangeSetName": CHANGE_SET, "StackName": STACK})
        described(aws, "UPDATE_COMPLETE")
        described(aws, "UPDATE_COMPLETE", EnableTerminationProtection=before)
        if protected != before:
            wanted = {"StackName": STACK, "EnableTerminationProtection": protected}
            aws.add_response("update_termination_protection", {}, wanted)
        stacks(aws).make(ChangeSet(STACK, REGION, False, [], CHANGE_SET), protected=protected)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [("AccessDenied", 403, DeploymentRefused), ("Throttling", 400, AwsUnavailable), ("Oops", 500, AwsUnavailable)],
)
def test_refusals_and_outages_are_told_apart(aws: Stubber, code: str, status: int, kind: type[Exception]) -> None:
    aws.add_client_error("describe_stacks", code, "words of AWS", http_status_code=status)
    with pytest.raises(kind, match="words of AWS"):
        stacks(aws).outputs(STACK, REGION)


DEV = Environment("dev", EnvironmentFile(region=REGION, approval=False, protected=False, common={}))
EXPORTS = {"city-platform-dev-IncidentApiUrl": "https://api/", "city-platform-dev-DagsterClusterName": "dagster"}
WELL: Mapping[str, tuple[int, Any]] = {
    "https://api/health": (200, {"status": "ok"}),
    "https://api/open-data/data.json": (200, {"dataset": []}),
    "https://api/v1/incidents": (401, {}),
}


SLACK = {"city-platform-dev-TrafficSlackSecretArn": "slack", "city-platform-dev-TrafficTellsSlack": "true"}


def problems(answers: Mapping[str, tuple[int, Any]], running: int = 1, desired: int = 1) -> list[str]:
    def get(url: str, headers: Mapping[str, str]) -> httpx2.Response:
        if url not in answers:
            raise httpx2.ConnectError("nobody")
        assert bool(headers) == url.endswith("/incidents")
        status, body = answers[url]
        return httpx2.Response(status, content=body if isinstance(body, str) else json.dumps(body))

    service = {"serviceName": "host", "runningCount": running, "desiredCount": desired}
    found = smoke(DEV, EXPORTS | SLACK, get, lambda _cluster: [service], lambda secret: secret == "slack")
    return [one.check for one in found if one.problem]


def test_a_well_environment_has_no_problems() -> None:
    assert problems(WELL) == []


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://api/health", (503, {})), ("https://api/health", (200, {"status": "ill"})),
        ("https://api/health", (200, "<html>")), ("https://api/open-data/data.json", (200, [])),
        ("https://api/open-data/data.json", (500, {})), ("https://api/v1/incidents", (200, {})),
        ("https://api/v1/incidents", (502, {})),
    ],
)  # fmt: skip
def test_each_wrong_answer_is_a_problem(url: str, answer: tuple[int, Any]) -> None:
    (found,) = problems({**WELL, url: answer})
    assert found.startswith(f"GET {url.removeprefix('https://api')}")


def test_silence_and_a_host_that_does_not_run_are_problems() -> None:
    assert len(problems({})) == 3
    assert problems(WELL, running=0) == ["Dagster's services run"]
    assert problems(WELL, running=0, desired=0) == ["Dagster's services run"]


def test_an_environment_that_exports_nothing_was_not_deployed() -> None:
    with pytest.raises(NothingDeployed, match="DagsterClusterName"):
        list(smoke(DEV, {}, lambda _url, _headers: httpx2.Response(200), lambda _cluster: [], lambda _secret: True))


@pytest.mark.parametrize(
    ("tells", "value", "problem", "note"),
    [
        ("true", True, "None", ""),
        ("false", False, "None", "nobody is told there: slack waits"),
        ("true", False, "slack has no value", ""),
        ("false", True, "set CITY_TRAFFIC_SLACK=true", ""),
    ],
)
def test_slack_is_told_when_its_secret_has_a_value_and_not_before(
    tells: str, value: bool, problem: str, note: str
) -> None:
    exports = EXPORTS | SLACK | {"city-platform-dev-TrafficTellsSlack": tells}
    silent = lambda _url, _headers: httpx2.Response(200)  # noqa: E731 shorter than a function
    *_, found = smoke(DEV, exports, silent, lambda _cluster: [], lambda _secret: value)
    assert found.check == "alerts of traffic in Slack"
    assert problem in str(found.problem)
    assert note in found.note
    assert bool(note) == bool(found.note)

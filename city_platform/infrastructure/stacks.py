"""Stacks in AWS CloudFormation: every change as a change set, which can be looked at before it is made."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, WaiterError
from botocore.exceptions import ConnectionError as NoConnection

from city_platform.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ChangeTypeDef

BODY_LIMIT = 51_200  # bytes that a request may hold; more has to lie in S3. AWS CloudFormation quotas
_NOTHING = ("didn't contain changes", "No updates are to be performed")
_REVIEW = "REVIEW_IN_PROGRESS"  # a stack of which there is nothing but a change set
_HALF = "ROLLBACK_COMPLETE"  # a stack whose creation failed: there is nothing in it, and it can only be deleted
_BEGINNINGS = {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"}  # of what is done to a stack
_AFTERMATH = ("Resource creation cancelled", "Resource update cancelled")  # because another resource failed
_BUSY = {"Throttling", "ThrottlingException", "RequestLimitExceeded"}
_SERVER_ERROR = 500
_CHANGE_SET_S, _STACK_S, _LONGEST_S = 3, 10, 3600


class StackFailed(PermanentError):
    """A stack did not become what its template says; the message has CloudFormation's reasons, resource by resource."""


class DeploymentRefused(PermanentError):
    """AWS did not take the request: no right to it, or a template or value it does not accept."""


class AwsUnavailable(TransientError):
    """AWS did not answer, or is busy."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a change set. `replaces`: the resource is made anew, and its old self removed."""

    action: str
    resource: str
    kind: str
    replaces: bool


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What would become of a stack. Without changes there is nothing to make, and nothing kept in AWS."""

    stack: str
    region: str
    creates: bool
    changes: Sequence[Change]
    identifier: str


class Stacks:
    """The stacks of one account, region by region."""

    def __init__(self, connect: "Callable[[str], CloudFormationClient]") -> None:
        """`connect` gives a client for a region; it is called once each."""
        self._connect = connect
        self._clients: dict[str, CloudFormationClient] = {}

    def propose(
        self,
        stack: str,
        region: str,
        template: Mapping[str, str],
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        role: str | None = None,
    ) -> ChangeSet:
        """Has AWS work out a change; raises DeploymentRefused, StackFailed.

        `template`: TemplateBody or TemplateURL. `role`: what CloudFormation makes the change with, instead of the
        caller's own rights.
        """
        client, status = self._client(region), self._status(stack, region)
        if status == _HALF:
            raise StackFailed(f"{stack} could not be made the first time; `deploy up` removes the rest and tries again")
        creates = status in {None, _REVIEW}
        more: dict[str, Any] = {**template, **({"RoleARN": role} if role else {})}
        with aws_errors(stack):
            identifier = client.create_change_set(
                StackName=stack,
                ChangeSetName=f"deploy-{time.time_ns()}",
                ChangeSetType="CREATE" if creates else "UPDATE",
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Tags=[{"Key": name, "Value": value} for name, value in tags.items()],
                **more,
            )["Id"]
            with suppress(WaiterError):  # of a failure the description tells the reason
                client.get_waiter("change_set_create_complete").wait(
                    ChangeSetName=identifier, StackName=stack, WaiterConfig=_patience(_CHANGE_SET_S)
                )
            found = client.describe_change_set(ChangeSetName=identifier, StackName=stack)
        proposed = ChangeSet(stack, region, creates, [], identifier)
        if found["Status"] == "CREATE_COMPLETE":
            return ChangeSet(stack, region, creates, self._changes(stack, region, identifier), identifier)
        self.discard(proposed)
        reason = found.get("StatusReason", "")
        if any(words in reason for words in _NOTHING):
            return proposed
        raise StackFailed(f"AWS CloudFormation cannot change {stack}: {reason or found['Status']}")

    def clear(self, stack: str, region: str) -> bool:
        """Removes the stack if it is what is left of a creation that failed; whether it was. Raises StackFailed."""
        return self._status(stack, region) == _HALF and self.remove(stack, region)

    def discard(self, change_set: ChangeSet) -> None:
        """Removes the change set, and the empty stack that holds one of a stack that does not stand yet."""
        client = self._client(change_set.region)
        with aws_errors(change_set.stack):
            client.delete_change_set(ChangeSetName=change_set.identifier, StackName=change_set.stack)
            if change_set.creates and self._status(change_set.stack, change_set.region) == _REVIEW:
                client.delete_stack(StackName=change_set.stack)

    def make(self, change_set: ChangeSet, *, protected: bool) -> None:
        """Makes the change and waits until it stands; raises StackFailed. `protected`: it refuses to be deleted."""
        client, stack = self._client(change_set.region), change_set.stack
        with aws_errors(stack):
            client.execute_change_set(ChangeSetName=change_set.identifier, StackName=stack)
            waiter = "stack_create_complete" if change_set.creates else "stack_update_complete"
            try:
                client.get_waiter(waiter).wait(StackName=stack, WaiterConfig=_patience(_STACK_S))  # type: ignore[call-overload]
            except WaiterError as error:
                raise StackFailed(f"{stack} failed:\n{self._reasons(stack, change_set.region)}") from error
            made = self._described(stack, change_set.region) or {}
            if made.get("EnableTerminationProtection", False) != protected:
                client.update_termination_protection(StackName=stack, EnableTerminationProtection=protected)

    def remove(self, stack: str, region: str) -> bool:
        """Deletes the stack; what its template retains stays. False where there is none. Raises StackFailed."""
        if self._status(stack, region) is None:
            return False
        client = self._client(region)
        with aws_errors(stack):
            client.delete_stack(StackName=stack)
            try:
                client.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig=_patience(_STACK_S))
            except WaiterError as error:
                raise StackFailed(f"{stack} was not deleted:\n{self._reasons(stack, region)}") from error
        return True

    def outputs(self, stack: str, region: str) -> Mapping[str, str]:
        """The outputs of a stack, none of one that does not stand."""
        found = self._described(stack, region) or {}
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def exports(self, region: str) -> Mapping[str, str]:
        """Everything that stacks of the region export."""
        with aws_errors(f"the exports in {region}"):
            pages = self._client(region).get_paginator("list_exports").paginate()
            return {one["Name"]: one["Value"] for page in pages for one in page["Exports"]}

    def _status(self, stack: str, region: str) -> str | None:
        found = self._described(stack, region)
        return str(found["StackStatus"]) if found else None

    def _described(self, stack: str, region: str) -> Mapping[str, Any] | None:
        with aws_errors(stack):
            try:
                return dict(self._client(region).describe_stacks(StackName=stack)["Stacks"][0])
            except ClientError as error:
                # CloudFormation has no error of its own for a stack that is not there.
                if "does not exist" in error.response.get("Error", {}).get("Message", ""):
                    return None
                raise

    def _changes(self, stack: str, region: str, identifier: str) -> Sequence[Change]:
        pages = (
            self._client(region)
            .get_paginator("describe_change_set")
            .paginate(ChangeSetName=identifier, StackName=stack)
        )
        return [_change(one) for page in pages for one in page.get("Changes", [])]

    def _reasons(self, stack: str, region: str) -> str:
        """What failed of the last thing that was done to the stack, in its order, without what failed of it in turn."""
        failed = []
        pages = self._client(region).get_paginator("describe_stack_events").paginate(StackName=stack)
        for one in (event for page in pages for event in page["StackEvents"]):  # the newest first
            status, reason = one.get("ResourceStatus", ""), one.get("ResourceStatusReason", "no reason given")
            if status.endswith("FAILED") and reason not in _AFTERMATH:
                failed.append(f"  {one.get('LogicalResourceId', '?')}: {reason}")
            if status in _BEGINNINGS and one.get("PhysicalResourceId") == one["StackId"]:
                break
        return "\n".join(reversed(failed))

    def _client(self, region: str) -> "CloudFormationClient":
        if region not in self._clients:
            self._clients[region] = self._connect(region)
        return self._clients[region]


def _patience(pause_s: int) -> Any:
    return {"Delay": pause_s, "MaxAttempts": _LONGEST_S // max(pause_s, 1)}


def _change(one: "ChangeTypeDef") -> Change:
    about = one.get("ResourceChange", {})
    return Change(
        action=str(about.get("Action", "?")),
        resource=about.get("LogicalResourceId", "?"),
        kind=about.get("ResourceType", "?"),
        replaces=about.get("Replacement") in {"True", "Conditional"},
    )


@contextmanager
def aws_errors(about: str) -> Iterator[None]:
    """Raises AwsUnavailable and DeploymentRefused for botocore's errors, with AWS's words: who deploys needs them."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        message = error.response.get("Error", {}).get("Message", "")
        busy = code in _BUSY or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_ERROR
        raise (AwsUnavailable if busy else DeploymentRefused)(f"AWS refused {about}: {code}: {message}") from error
    except (HTTPClientError, NoConnection) as error:
        raise AwsUnavailable(f"AWS did not answer for {about}: {type(error).__name__}") from error
    except BotoCoreError as error:
        raise DeploymentRefused(f"AWS cannot be asked for {about}: {error}; check the AWS settings") from error

"""Claims in DynamoDB: items of the table of marks."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from city_platform.aws.client_errors import typed
from city_platform.aws.incidents import dynamodb_client
from city_platform.ports import ClaimsRefused, ClaimState, ClaimsUnavailable, Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MINE = "holder = :holder AND held_until > :now"


class DynamoDBClaims:
    """Claims in the table `table`, whose key is `mark`."""

    def __init__(self, table: str, clock: Clock, connect: "Callable[[], DynamoDBClient]" = dynamodb_client) -> None:
        """`connect` is called once, at the first use."""
        self._table = table
        self._clock = clock
        self._connect = connect

    def claim(self, name: str, holder: str, until: datetime) -> ClaimState:
        item = _key(name) | {"holder": {"S": holder}, "held_until": _milliseconds(until)}
        with self._typed():
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(mark) OR held_until <= :now "
                    "OR (holder = :holder AND attribute_exists(held_until))",
                    ExpressionAttributeValues=self._values(holder),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except self._client.exceptions.ConditionalCheckFailedException as refusal:
                there: Any = refusal.response.get("Item", {})
                return ClaimState.HELD if "held_until" in there else ClaimState.DONE
        return ClaimState.TAKEN

    def finish(self, name: str, holder: str) -> bool:
        with self._typed():
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(name),
                    UpdateExpression="REMOVE held_until",
                    ConditionExpression=_MINE,
                    ExpressionAttributeValues=self._values(holder),
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def release(self, name: str, holder: str) -> bool:
        with self._typed():
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key=_key(name),
                    ConditionExpression=_MINE,
                    ExpressionAttributeValues=self._values(holder),
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return self._connect()

    def _values(self, holder: str) -> dict[str, Any]:
        return {":holder": {"S": holder}, ":now": _milliseconds(self._clock.now())}

    @staticmethod
    def _typed() -> AbstractContextManager[None]:
        return typed("DynamoDB", ClaimsUnavailable, ClaimsRefused)


def _key(name: str) -> dict[str, Any]:
    return {"mark": {"S": f"claim#{name}"}}


def _milliseconds(time: datetime) -> dict[str, Any]:
    return {"N": str(int(time.timestamp() * 1000))}

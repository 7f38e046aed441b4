"""What the user pool of Amazon Cognito knows of an account."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.errors import PermanentError, TransientError


class AccountsRefused(PermanentError):
    """There is no such account, or this identity may not look at it."""


class AccountsUnavailable(TransientError):
    """The user pool did not answer, or answered that it is busy."""


def cognito_client() -> Any:
    """A client that has given up before the five seconds are over that Cognito waits for a trigger."""
    settings = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 2})
    return boto3.client("cognito-idp", config=settings)


class CognitoAccounts:
    """The accounts of user pools. Errors: AccountsRefused, AccountsUnavailable."""

    def __init__(self, connect: Callable[[], Any] = cognito_client) -> None:
        """`connect` is called once, at the first use."""
        self._connect = connect

    def has_second_factor(self, pool: str, name: str) -> bool:
        """Whether the account has set up a second factor; Cognito then asks for it at every sign-in."""
        with typed("the user pool", AccountsUnavailable, AccountsRefused):
            found = self._client.admin_get_user(UserPoolId=pool, Username=name)
        return bool(found.get("UserMFASettingList"))

    @cached_property
    def _client(self) -> Any:
        return self._connect()

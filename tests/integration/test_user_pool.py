"""People of the template's user pool: they sign up, confirm, sign in, and the API knows them by their tokens."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import boto3
import jwt
import pytest

from city_platform.api.auth import Issuer, OwnKeys, TokenVerifier, Unauthorized
from city_platform.aws.accounts import AccountsRefused, CognitoAccounts
from city_platform.incidents.roles import Role
from city_platform.local.clock import SystemClock
from tests.incident_stack import PARAMETERS
from tests.integration.conftest import REGION
from tests.templates import template

PASSWORD = "a Long enough 1!"


class Pool:
    """One user pool with the template's settings, as far as the emulator has them."""

    def __init__(self, aws: str) -> None:
        self.cognito: Any = boto3.client("cognito-idp")
        stack = template("incidents").deploy(PARAMETERS)
        said = stack["UserPool"].properties
        names = ("Policies", "UsernameAttributes", "UsernameConfiguration", "AutoVerifiedAttributes")
        schema = [
            {**one, "StringAttributeConstraints": {"MinLength": "0", "MaxLength": "2048"}} for one in said["Schema"]
        ]
        self.id = self.cognito.create_user_pool(
            PoolName=uuid4().hex, Schema=schema, **{name: said[name] for name in names}
        )["UserPool"]["Id"]
        client = stack["UserPoolClient"].properties
        self.client = self.cognito.create_user_pool_client(
            UserPoolId=self.id,
            ClientName="people",
            # The emulator knows no secure remote passwords.
            ExplicitAuthFlows=[*client["ExplicitAuthFlows"], "ALLOW_USER_PASSWORD_AUTH"],
            WriteAttributes=client["WriteAttributes"],
        )["UserPoolClient"]["ClientId"]
        for group in stack.resources("AWS::Cognito::UserPoolGroup"):
            self.cognito.create_group(GroupName=group.properties["GroupName"], UserPoolId=self.id)
        with urlopen(f"{aws}/{self.id}/.well-known/jwks.json") as answer:  # noqa: S310 -- loopback
            self.keys = json.load(answer)["keys"]

    @property
    def verifier(self) -> TokenVerifier:
        issuer = f"https://cognito-idp.{REGION}.amazonaws.com/{self.id}"
        return TokenVerifier(
            Issuer(issuer, self.client, districts_claim="districts"), OwnKeys(lambda: self.keys), SystemClock()
        )

    def sign_up(self, name: str, password: str = PASSWORD) -> None:
        attributes = [{"Name": "email", "Value": name}]
        self.cognito.sign_up(ClientId=self.client, Username=name, Password=password, UserAttributes=attributes)

    def sign_in(self, name: str, password: str = PASSWORD) -> Mapping[str, Any]:
        given = {"USERNAME": name, "PASSWORD": password}
        answer = self.cognito.initiate_auth(ClientId=self.client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=given)
        found: Mapping[str, Any] = answer["AuthenticationResult"]
        return found


@pytest.fixture
def pool(aws_environment: dict[str, str]) -> Pool:
    return Pool(aws_environment["AWS_ENDPOINT_URL"])


def test_people_sign_up_confirm_and_sign_in_and_the_api_knows_them(pool: Pool) -> None:
    name = "kim@city.internal"
    with pytest.raises(pool.cognito.exceptions.InvalidPasswordException):
        pool.sign_up(name, "short1!A")
    pool.sign_up(name)
    with pytest.raises(pool.cognito.exceptions.UserNotConfirmedException):
        pool.sign_in(name)
    pool.cognito.admin_confirm_sign_up(UserPoolId=pool.id, Username=name)
    with pytest.raises(pool.cognito.exceptions.NotAuthorizedException):
        pool.sign_in(name, "another Long 1!")
    tokens = pool.sign_in(name)
    for kind in ("AccessToken", "IdToken"):
        actor = pool.verifier.actor(tokens[kind])
        assert actor.subject == jwt.decode(tokens[kind], options={"verify_signature": False})["sub"]
        assert actor.role is Role.CITIZEN
    pool.cognito.admin_add_user_to_group(UserPoolId=pool.id, Username=name, GroupName="officer")
    assert pool.verifier.actor(pool.sign_in(name)["AccessToken"]).role is Role.OFFICER


def test_tokens_of_another_pool_or_changed_ones_count_for_nothing(pool: Pool, aws_environment: dict[str, str]) -> None:
    other = Pool(aws_environment["AWS_ENDPOINT_URL"])
    other.sign_up("kim@city.internal")
    other.cognito.admin_confirm_sign_up(UserPoolId=other.id, Username="kim@city.internal")
    token = other.sign_in("kim@city.internal")["AccessToken"]
    assert other.verifier.actor(token)
    head, body, signature = token.split(".")
    for wrong, verifier in ((token, pool.verifier), (f"{head}.{body[:-2]}xx.{signature}", other.verifier)):
        with pytest.raises(Unauthorized):
            verifier.actor(wrong)


def test_whether_somebody_has_a_second_factor(pool: Pool) -> None:
    pool.sign_up("kim@city.internal")
    pool.cognito.admin_confirm_sign_up(UserPoolId=pool.id, Username="kim@city.internal")
    accounts = CognitoAccounts()
    assert not accounts.has_second_factor(pool.id, "kim@city.internal")
    token = pool.sign_in("kim@city.internal")["AccessToken"]
    pool.cognito.associate_software_token(AccessToken=token)
    pool.cognito.verify_software_token(AccessToken=token, UserCode="123456")
    pool.cognito.set_user_mfa_preference(
        AccessToken=token, SoftwareTokenMfaSettings={"Enabled": True, "PreferredMfa": True}
    )
    assert accounts.has_second_factor(pool.id, "kim@city.internal")
    with pytest.raises(AccountsRefused):
        accounts.has_second_factor(pool.id, "nobody")

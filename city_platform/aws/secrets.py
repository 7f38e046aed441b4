"""Secrets in AWS Secrets Manager, read where they are needed and kept in no file."""

from typing import Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.errors import PermanentError, TransientError


class SecretRefused(PermanentError):
    """There is no such secret, or this identity may not read it."""


class SecretsUnavailable(TransientError):
    """Secrets Manager did not answer, or answered that it is busy."""


def read_secret(name: str, region: str | None = None, endpoint_url: str | None = None) -> str:
    """The text of a secret, by name or ARN. Raises SecretRefused, SecretsUnavailable."""
    settings = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
    client: Any = boto3.client("secretsmanager", region_name=region, endpoint_url=endpoint_url, config=settings)
    with typed(f"the secret {name}", SecretsUnavailable, SecretRefused):
        text = client.get_secret_value(SecretId=name).get("SecretString")
    if not text:
        raise SecretRefused(f"the secret {name} holds no text")
    return str(text)

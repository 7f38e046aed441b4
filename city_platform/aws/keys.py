"""Keys in AWS KMS: Encrypt and Decrypt with an encryption context. Key names are aliases (`alias/…`)."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from city_platform.errors import CityPlatformError
from city_platform.ports import (
    PLAINTEXT_LIMIT,
    KeyDenied,
    KeyDisabled,
    KeyNotFound,
    KeyServiceUnavailable,
    WrongKey,
)

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


class AnotherKey(WrongKey):
    """The ciphertext was made with another key than the alias points at."""


_ERRORS: Mapping[str, type[CityPlatformError]] = {
    "NotFoundException": KeyNotFound,
    "DisabledException": KeyDisabled,
    "KMSInvalidStateException": KeyDisabled,  # pending deletion, pending import, …
    "AccessDeniedException": KeyDenied,
    "InvalidCiphertextException": WrongKey,
    "IncorrectKeyException": AnotherKey,
    "InvalidKeyUsageException": WrongKey,
    "KeyUnavailableException": KeyServiceUnavailable,
    "DependencyTimeoutException": KeyServiceUnavailable,
    "KMSInternalException": KeyServiceUnavailable,
    "LimitExceededException": KeyServiceUnavailable,
    "RequestLimitExceeded": KeyServiceUnavailable,
    "ThrottlingException": KeyServiceUnavailable,
    "Throttling": KeyServiceUnavailable,
}
_SERVER_ERROR = 500
PREVIOUS = "/previous"  # behind a key's alias: the alias of the key it pointed at before


def kms_client(region: str | None = None, endpoint_url: str | None = None) -> "KMSClient":
    """A KMS client whose calls end: 3 s to connect, 10 s to answer, at most five attempts with adaptive pauses.

    Credentials, and what is not given here, come from the environment, as for every AWS client.
    """
    settings = Config(connect_timeout=3, read_timeout=10, retries={"mode": "adaptive", "total_max_attempts": 5})
    return boto3.client("kms", region_name=region, endpoint_url=endpoint_url, config=settings)


class KmsKeyService:
    """A KeyService in AWS KMS. Keys are made, rotated and disabled by the infrastructure, not from here.

    When an alias is pointed at another key, point the alias `…/previous` at the one before, so that what that one
    encrypted stays readable until it is encrypted again.
    """

    def __init__(self, connect: Callable[[], "KMSClient"] = kms_client) -> None:
        """`connect` is called once, at the first use, so that building the service reads no configuration."""
        self._connect = connect
        self._client: KMSClient | None = None
        self._connecting = threading.Lock()

    def ensure(self, key: str) -> None:
        """Raises KeyNotFound where there is no such alias: keys come from the infrastructure, never from here."""
        with _typed(key):
            self._kms().describe_key(KeyId=key)

    def encrypt(self, key: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        if not 1 <= len(plaintext) <= PLAINTEXT_LIMIT:
            raise ValueError(f"a key service encrypts 1 to {PLAINTEXT_LIMIT} bytes, not {len(plaintext)}")
        with _typed(key):
            answer = self._kms().encrypt(KeyId=key, Plaintext=plaintext, EncryptionContext=dict(context))
        return answer["CiphertextBlob"]

    def decrypt(self, key: str, ciphertext: bytes, context: Mapping[str, str]) -> bytes:
        if not ciphertext:
            raise WrongKey(f"an empty ciphertext was not made with {key}")
        try:
            return self._decrypt(key, ciphertext, context)
        except AnotherKey as error:
            try:
                return self._decrypt(f"{key}{PREVIOUS}", ciphertext, context)
            except KeyNotFound:
                raise error from None

    def current(self, key: str) -> str:
        """The ARN of the key that the alias points at. Rotation of key material by KMS itself does not change it."""
        with _typed(key):
            return self._kms().describe_key(KeyId=key)["KeyMetadata"]["Arn"]

    def _decrypt(self, key: str, ciphertext: bytes, context: Mapping[str, str]) -> bytes:
        with _typed(key):
            # Without KeyId, KMS would take whichever key the ciphertext names.
            answer = self._kms().decrypt(KeyId=key, CiphertextBlob=ciphertext, EncryptionContext=dict(context))
        return answer["Plaintext"]

    def _kms(self) -> "KMSClient":
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client


@contextmanager
def _typed(key: str) -> Iterator[None]:
    """Turns botocore's errors into the port's. A refusal of an unknown kind is a KeyDenied that names it."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = _ERRORS.get(code, KeyServiceUnavailable if status >= _SERVER_ERROR else KeyDenied)
        raise kind(f"AWS KMS refused {key}: {code}") from error
    except (HTTPClientError, NoConnection) as error:
        raise KeyServiceUnavailable(f"AWS KMS did not answer for {key}: {type(error).__name__}") from error
    except BotoCoreError as error:
        # No region, no credentials, a malformed name. The kind says it; botocore's text might quote the plaintext.
        raise KeyDenied(f"AWS KMS cannot be asked for {key}: {type(error).__name__}; check the AWS settings") from None

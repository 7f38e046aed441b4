"""The contract of the key service port, held by both adapters; and how AWS KMS's own errors reach it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError, ReadTimeoutError
from botocore.stub import Stubber

from city_platform.aws.keys import KmsKeyService, kms_client
from city_platform.errors import CityPlatformError
from city_platform.local.keys import LocalKeyService
from city_platform.ports import (
    PLAINTEXT_LIMIT,
    KeyDenied,
    KeyDisabled,
    KeyNotFound,
    KeyService,
    KeyServiceUnavailable,
    WrongKey,
)

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

KEY = "alias/city-platform/licences/personal"
OTHER = "alias/city-platform/licences/internal"
CONTEXT = {"dataset": "licences", "partition": "2024", "purpose": "test"}


@dataclass(frozen=True)
class Adapter:
    """A key service holding KEY and OTHER, and a way to a second one over the same keys."""

    service: KeyService
    again: Callable[[], KeyService]
    # What a foreign ciphertext raises: moto answers AccessDenied where KMS answers IncorrectKeyException.
    foreign: tuple[type[CityPlatformError], ...]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no test ever signs with real ones."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def impatient_client(endpoint_url: str | None = None) -> "KMSClient":
    """A client that tries once."""
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client("kms", region_name="ca-central-1", endpoint_url=endpoint_url, config=once)


@pytest.fixture(params=["local", "aws"])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    if request.param == "local":
        path = tmp_path / "keys" / "keys.json"
        local = LocalKeyService(path)
        for key in (KEY, OTHER):
            local.create(key)
        return Adapter(local, lambda: LocalKeyService(path), (WrongKey,))
    url = request.getfixturevalue("aws")

    def connect() -> "KMSClient":
        return kms_client("ca-central-1", url)

    client = connect()
    known = {alias["AliasName"] for alias in client.list_aliases()["Aliases"]}
    for key in {KEY, OTHER} - known:
        client.create_alias(AliasName=key, TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
    return Adapter(KmsKeyService(connect), lambda: KmsKeyService(connect), (WrongKey, KeyDenied))


@pytest.mark.parametrize("data", [b"\0", b"data" * 8, bytes(PLAINTEXT_LIMIT)])
def test_what_was_encrypted_comes_back(adapter: Adapter, data: bytes) -> None:
    sealed = adapter.service.encrypt(KEY, data, CONTEXT)
    assert data not in sealed or data == b"\0"
    assert adapter.service.decrypt(KEY, sealed, CONTEXT) == data


def test_the_same_plaintext_never_looks_the_same(adapter: Adapter) -> None:
    assert adapter.service.encrypt(KEY, b"data", CONTEXT) != adapter.service.encrypt(KEY, b"data", CONTEXT)


def test_two_services_share_their_keys(adapter: Adapter) -> None:
    assert adapter.again().decrypt(KEY, adapter.service.encrypt(KEY, b"data", CONTEXT), CONTEXT) == b"data"


@pytest.mark.parametrize(
    "context",
    [{}, {**CONTEXT, "partition": "2023"}, {**CONTEXT, "more": "1"}, {"dataset": "licences", "partition": "2024"}],
)
def test_another_context_is_a_wrong_key(adapter: Adapter, context: dict[str, str]) -> None:
    sealed = adapter.service.encrypt(KEY, b"data", CONTEXT)
    with pytest.raises(WrongKey, match=KEY):
        adapter.service.decrypt(KEY, sealed, context)


def test_another_key_does_not_open_it(adapter: Adapter) -> None:
    sealed = adapter.service.encrypt(KEY, b"data", CONTEXT)
    with pytest.raises(adapter.foreign, match=OTHER):
        adapter.service.decrypt(OTHER, sealed, CONTEXT)


def test_a_change_of_any_byte_is_noticed(adapter: Adapter) -> None:
    sealed = adapter.service.encrypt(KEY, b"data", CONTEXT)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 0x41
        with pytest.raises(adapter.foreign):
            adapter.service.decrypt(KEY, bytes(changed), CONTEXT)


@pytest.mark.parametrize("length", [0, 1, 20, 48])
def test_a_ciphertext_cut_short_is_a_wrong_key(adapter: Adapter, length: int) -> None:
    sealed = adapter.service.encrypt(KEY, b"data", CONTEXT)
    with pytest.raises(WrongKey, match=KEY):
        adapter.service.decrypt(KEY, sealed[:length], CONTEXT)


def test_each_key_says_what_encrypts_under_it_now(adapter: Adapter) -> None:
    ids = [adapter.service.current(key) for key in (KEY, OTHER)]
    assert len(set(ids)) == 2
    assert [adapter.again().current(key) for key in (KEY, OTHER)] == ids
    with pytest.raises(KeyNotFound):
        adapter.service.current("alias/city-platform/nobody/personal")


def test_an_unknown_key_is_named(adapter: Adapter) -> None:
    sealed = adapter.service.encrypt(KEY, b"data", CONTEXT)
    with pytest.raises(KeyNotFound, match="alias/none"):
        adapter.service.encrypt("alias/none", b"data", CONTEXT)
    with pytest.raises(KeyNotFound, match="alias/none"):
        adapter.service.decrypt("alias/none", sealed, CONTEXT)


@pytest.mark.parametrize("data", [b"", bytes(PLAINTEXT_LIMIT + 1)])
def test_more_than_a_key_service_takes_is_refused(adapter: Adapter, data: bytes) -> None:
    with pytest.raises(ValueError, match="4096"):
        adapter.service.encrypt(KEY, data, CONTEXT)


def test_threads_share_a_service(adapter: Adapter) -> None:
    opened: list[bytes] = []

    def work(number: int) -> None:
        service, data = adapter.service, bytes([number + 1])
        opened.append(service.decrypt(KEY, service.encrypt(KEY, data, CONTEXT), CONTEXT))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(opened) == [b"\1", b"\2", b"\3", b"\4"]


@pytest.fixture
def stubbed() -> Iterator[tuple[KmsKeyService, Stubber]]:
    client = impatient_client()
    with Stubber(client) as stubber:
        yield KmsKeyService(lambda: client), stubber


KMS_ERRORS = [
    ("DisabledException", 400, KeyDisabled),
    ("KMSInvalidStateException", 400, KeyDisabled),
    ("NotFoundException", 400, KeyNotFound),
    ("AccessDeniedException", 400, KeyDenied),
    ("UnrecognizedClientException", 400, KeyDenied),
    ("KeyUnavailableException", 500, KeyServiceUnavailable),
    ("DependencyTimeoutException", 500, KeyServiceUnavailable),
    ("KMSInternalException", 500, KeyServiceUnavailable),
    ("ThrottlingException", 400, KeyServiceUnavailable),
    ("LimitExceededException", 400, KeyServiceUnavailable),
    ("ServiceUnavailable", 503, KeyServiceUnavailable),
]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [*KMS_ERRORS, ("InvalidCiphertextException", 400, WrongKey)],
)
def test_kms_errors_on_decryption_are_the_ports_errors(
    stubbed: tuple[KmsKeyService, Stubber], code: str, status: int, kind: type[CityPlatformError]
) -> None:
    service, stubber = stubbed
    stubber.add_client_error("decrypt", code, http_status_code=status)
    with pytest.raises(kind, match=f"{KEY}: {code}"):
        service.decrypt(KEY, b"sealed", CONTEXT)


@pytest.mark.parametrize(("code", "status", "kind"), KMS_ERRORS)
def test_kms_errors_on_encryption_are_the_ports_errors(
    stubbed: tuple[KmsKeyService, Stubber], code: str, status: int, kind: type[CityPlatformError]
) -> None:
    service, stubber = stubbed
    stubber.add_client_error("encrypt", code, http_status_code=status)
    with pytest.raises(kind, match=f"{KEY}: {code}"):
        service.encrypt(KEY, b"data", CONTEXT)


def test_decryption_names_its_key(stubbed: tuple[KmsKeyService, Stubber]) -> None:
    service, stubber = stubbed
    asked = {"KeyId": KEY, "CiphertextBlob": b"sealed", "EncryptionContext": CONTEXT}
    stubber.add_response("decrypt", {"Plaintext": b"data"}, asked)
    assert service.decrypt(KEY, b"sealed", CONTEXT) == b"data"


def test_what_another_key_encrypted_is_tried_with_the_one_before(stubbed: tuple[KmsKeyService, Stubber]) -> None:
    service, stubber = stubbed
    before = {"KeyId": f"{KEY}/previous", "CiphertextBlob": b"sealed", "EncryptionContext": CONTEXT}
    stubber.add_client_error("decrypt", "IncorrectKeyException", http_status_code=400)
    stubber.add_response("decrypt", {"Plaintext": b"data"}, before)
    assert service.decrypt(KEY, b"sealed", CONTEXT) == b"data"
    for _ in range(2):
        stubber.add_client_error("decrypt", "IncorrectKeyException", http_status_code=400)
    with pytest.raises(WrongKey, match=f"{KEY}/previous: IncorrectKeyException"):
        service.decrypt(KEY, b"sealed", CONTEXT)
    for code in ("IncorrectKeyException", "NotFoundException"):
        stubber.add_client_error("decrypt", code, http_status_code=400)
    with pytest.raises(WrongKey, match=f"{KEY}: IncorrectKeyException"):
        service.decrypt(KEY, b"sealed", CONTEXT)


class Failing:
    """A client whose calls fail before they reach AWS."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def encrypt(self, **_arguments: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ReadTimeoutError(endpoint_url="https://kms"), KeyServiceUnavailable),
        (NoCredentialsError(), KeyDenied),
        (NoRegionError(), KeyDenied),
    ],
)
def test_failures_short_of_kms_are_typed_too(error: Exception, kind: type[CityPlatformError]) -> None:
    service = KmsKeyService(lambda: Failing(error))  # type: ignore[arg-type,return-value]  # only `encrypt` is called
    with pytest.raises(kind, match=type(error).__name__):
        service.encrypt(KEY, b"data", CONTEXT)


def test_a_closed_port_is_an_unavailable_service() -> None:
    client = impatient_client("http://127.0.0.1:1")
    with pytest.raises(KeyServiceUnavailable, match="EndpointConnectionError"):
        KmsKeyService(lambda: client).encrypt(KEY, b"data", CONTEXT)


def test_calls_are_bounded_and_building_a_service_connects_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    KmsKeyService()
    config: Any = kms_client("ca-central-1").meta.config
    assert config.connect_timeout + config.read_timeout <= 15
    assert config.retries == {"mode": "adaptive", "total_max_attempts": 5}


def test_a_disabled_local_key_is_refused(tmp_path: Path) -> None:
    # KMS refuses one too; the emulator does not, so for KMS the stubbed DisabledException above stands in.
    service = LocalKeyService(tmp_path / "keys" / "keys.json")
    service.create(KEY)
    sealed = service.encrypt(KEY, b"data", CONTEXT)
    service.disable(KEY)
    with pytest.raises(KeyDisabled):
        service.encrypt(KEY, b"data", CONTEXT)
    with pytest.raises(KeyDisabled):
        service.decrypt(KEY, sealed, CONTEXT)


def test_no_error_of_kms_quotes_the_plaintext(stubbed: tuple[KmsKeyService, Stubber]) -> None:
    service, _ = stubbed
    with pytest.raises(KeyDenied) as caught:
        service.encrypt(7, b"confidential", CONTEXT)  # type: ignore[arg-type]  # botocore refuses the name's type
    assert "confidential" not in str(caught.value)
    assert not isinstance(caught.value.__cause__, ClientError)

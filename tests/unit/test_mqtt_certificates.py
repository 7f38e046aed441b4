"""The certificate authority of a machine's MQTT: made once, for its owner alone, renewed in time."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from city_platform.local.mqtt.certificates import SERVER, Authority, DamagedKey, ExposedKey


@dataclass
class MovingClock:
    time: datetime

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock(datetime(2026, 6, 1, tzinfo=UTC))


@pytest.fixture
def authority(tmp_path: Path, clock: MovingClock) -> Authority:
    return Authority(tmp_path / "traffic" / "mqtt", clock)


def test_keys_are_made_once_and_only_their_owner_reads_them(authority: Authority) -> None:
    file = authority.identity_file("s-00001")
    assert authority.identity_file("s-00001").read_bytes() == file.read_bytes()
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=s-00001"
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    root = x509.load_pem_x509_certificate(authority.authority_file().read_bytes())
    certificate.verify_directly_issued_by(root)
    assert authority.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in authority.folder.iterdir()} == {0o600}
    assert b"PRIVATE" not in authority.authority_file().read_bytes()


def test_a_client_is_no_server_and_a_server_no_client(authority: Authority) -> None:
    for name, purpose in ((SERVER, "serverAuth"), ("s-00001", "clientAuth")):
        certificate = x509.load_pem_x509_certificate(authority.identity_file(name).read_bytes())
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert [one._name for one in usage] == [purpose]


def test_a_certificate_is_renewed_before_it_ends(authority: Authority, clock: MovingClock) -> None:
    first = authority.identity_file("s-00001").read_bytes()
    root = authority.authority_file().read_bytes()
    clock.time += timedelta(days=334)
    assert authority.identity_file("s-00001").read_bytes() == first
    clock.time += timedelta(days=2)
    assert authority.identity_file("s-00001").read_bytes() != first
    assert authority.authority_file().read_bytes() == root


def test_what_another_authority_signed_is_made_anew(authority: Authority, tmp_path: Path, clock: MovingClock) -> None:
    authority.identity_file("s-00001")
    other = Authority(tmp_path / "other", clock)
    other.authority_file()
    shutil.copy(authority.folder / "s-00001.pem", other.folder / "s-00001.pem")
    root = x509.load_pem_x509_certificate(other.authority_file().read_bytes())
    x509.load_pem_x509_certificate(other.identity_file("s-00001").read_bytes()).verify_directly_issued_by(root)


def test_a_key_that_others_can_read_is_refused(authority: Authority) -> None:
    authority.identity_file("s-00001").chmod(0o640)
    with pytest.raises(ExposedKey, match=r"s-00001\.pem"):
        authority.client_context("s-00001")


def test_a_damaged_key_is_said_and_not_replaced(authority: Authority) -> None:
    authority.identity_file("s-00001").write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(DamagedKey, match="made anew"):
        authority.identity_file("s-00001")

"""The certificate authority of one machine's MQTT: whom a broker lets in is whom this signed.

Everything is EC P-256, made when it is first asked for. A client's identity is its certificate's common name. Each
identity is one PEM file of its key and certificate, mode 0600 in a folder nobody else can open.
"""

import fcntl
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from city_platform.errors import PermanentError
from city_platform.local.durability import make_folder, write_whole
from city_platform.ports import Clock

SERVER = "localhost"
_AUTHORITY = "authority"
_AUTHORITY_LIFE, _LIFE = timedelta(days=3650), timedelta(days=365)
_RENEWED = timedelta(days=30)  # before its end
_SKEW = timedelta(minutes=5)


_Pair: TypeAlias = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


class ExposedKey(PermanentError):
    """Others could read or exchange a private key, so that anybody could be whom it stands for."""


class DamagedKey(PermanentError):
    """A file of keys is not what was written."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs servers and clients; safe between processes."""

    folder: Path
    clock: Clock

    def authority_file(self) -> Path:
        """The authority's certificate, to trust servers and clients by."""
        self._authority()
        return self.folder / f"{_AUTHORITY}.crt"

    def identity_file(self, name: str) -> Path:
        """Key and certificate of a client, or of SERVER, in one PEM file; made or renewed where it has to be."""
        issuer = self._authority()
        path = self.folder / f"{name}.pem"
        if not self._good(path, issuer):
            with self._locked():
                if not self._good(path, issuer):
                    key = ec.generate_private_key(ec.SECP256R1())
                    write_whole(path, _pem(key, self._certificate(name, key, _LIFE, issuer)))
        return path

    def client_context(self, name: str) -> ssl.SSLContext:
        """TLS 1.2 or newer to a server of this authority, as the client of that name."""
        context = ssl.create_default_context(cafile=self.authority_file())
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.identity_file(name))
        return context

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer for clients of this authority alone."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority_file())
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.identity_file(SERVER))
        return context

    def _authority(self) -> _Pair:
        path = self.folder / f"{_AUTHORITY}.pem"
        if not self._good(path):
            with self._locked():
                if not self._good(path):
                    key = ec.generate_private_key(ec.SECP256R1())
                    certificate = self._certificate(_AUTHORITY, key, _AUTHORITY_LIFE, None)
                    write_whole(path.with_suffix(".crt"), certificate.public_bytes(serialization.Encoding.PEM))
                    write_whole(path, _pem(key, certificate))
        return _pair(path)

    def _certificate(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        life: timedelta,
        issuer: _Pair | None,
    ) -> x509.Certificate:
        """A certificate of that common name, its own issuer's where there is none."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signing, issued_by = (issuer[0], issuer[1].subject) if issuer else (key, subject)
        authority = issuer is None
        now = self.clock.now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issued_by)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
            .add_extension(_usage(authority=authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        )
        if not authority:
            purpose = ExtendedKeyUsageOID.SERVER_AUTH if name == SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if name == SERVER:
            names = [x509.DNSName(SERVER), x509.IPAddress(IPv4Address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signing, hashes.SHA256())

    def _good(self, path: Path, issuer: _Pair | None = None) -> bool:
        """Whether the file is there, its certificate is the issuer's (None: its own) and not near its end."""
        try:
            if path.stat().st_mode & 0o077:
                raise ExposedKey(f"others can open {path}: remove {self.folder}, its keys are made anew")
            _, certificate = _pair(path)
        except FileNotFoundError:
            return False
        try:
            certificate.verify_directly_issued_by(issuer[1] if issuer else certificate)
        except (ValueError, InvalidSignature):
            return False
        return certificate.not_valid_after_utc - self.clock.now() > _RENEWED

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self.folder)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pair(path: Path) -> _Pair:
    data = path.read_bytes()
    damaged = f"{path} does not hold what was written: remove {path.parent}, its keys are made anew"
    try:
        key, certificate = serialization.load_pem_private_key(data, None), x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise DamagedKey(damaged) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DamagedKey(damaged)
    return key, certificate


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return private + certificate.public_bytes(serialization.Encoding.PEM)

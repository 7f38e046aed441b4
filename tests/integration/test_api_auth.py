"""Tokens: what counts, what does not, and that nothing is written for whoever holds none that does."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hmac import digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from city_platform.api import auth
from city_platform.api.auth import Issuer, IssuerUnavailable, PublishedKeys, TokenVerifier, Unauthorized
from city_platform.errors import PermanentError
from city_platform.incidents.roles import Role
from city_platform.local.issuer import AUDIENCE, ISSUER, LocalIssuer
from tests.api import Town, town
from tests.incidents import NOW, report
from tests.town import StandingClock

POOL = "https://cognito-idp.ca-central-1.amazonaws.com/ca-central-1_Town"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
GOOD: dict[str, Any] = {
    "iss": POOL,
    "client_id": "town",
    "token_use": "access",
    "sub": "7d1f",
    "cognito:groups": ["officer", "no-role"],
    "custom:districts": "mount-pleasant, downtown",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 600,
}
USE_ID, USE_REFRESH = {"token_use": "id"}, {"token_use": "refresh"}


@dataclass
class Pool:
    """A user pool's address of keys on loopback."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    address: str = ""


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool([public(RSA, "a")])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked += 1
            body = json.dumps({"keys": made.keys}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.address = f"http://127.0.0.1:{server.server_address[1]}/.well-known/jwks.json"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    name = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": name, "use": "sig", **more}


def signed(key: Any = RSA, kid: str = "a", algorithm: str = "RS256", **claims: Any) -> str:
    body = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    return jwt.encode(body, key, algorithm=algorithm, headers={"kid": kid})


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(GOOD).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def hmac_with_the_public_key() -> str:
    # The library refuses to sign with a public key, so an attacker would use another one.
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = unsigned({"alg": "HS256", "typ": "JWT", "kid": "a"}).rpartition(".")[0]
    return f"{head}.{base64.urlsafe_b64encode(digest(pem, head.encode(), 'sha256')).decode().rstrip('=')}"


def verifier(pool: Pool, clock: StandingClock) -> TokenVerifier:
    return TokenVerifier(Issuer(POOL, "town"), PublishedKeys(pool.address), clock)


def test_claims_become_roles_and_districts(pool: Pool) -> None:
    checks = verifier(pool, StandingClock(NOW))
    actor = checks.actor(signed())
    assert (actor.subject, actor.roles) == ("7d1f", {Role.CITIZEN, Role.OFFICER})
    assert actor.districts == {"mount-pleasant", "downtown"}
    ident = signed(**USE_ID, client_id=None, aud="town", **{"custom:districts": '["downtown"]'})
    assert checks.actor(ident).districts == {"downtown"}
    assert checks.actor(
        signed(token_use=None, client_id=None, aud=["x", "town"], **{"cognito:groups": None})
    ).roles == {Role.CITIZEN}
    other = TokenVerifier(
        Issuer("https://sso.example", "desk", "roles", "areas"), PublishedKeys(pool.address), StandingClock(NOW)
    )
    token = signed(iss="https://sso.example", aud="desk", token_use=None, roles="admin steward", areas="sunset")
    assert other.actor(token).roles == {Role.CITIZEN, Role.ADMIN, Role.STEWARD}


WRONG: dict[str, str] = {
    "expired": signed(exp=int(NOW.timestamp()) - 31),
    "not yet valid": signed(iat=int(NOW.timestamp()) + 31),
    "not before": signed(nbf=int(NOW.timestamp()) + 31),
    "another pool": signed(iss=POOL + "2"),
    "another client": signed(client_id="other"),
    "client named in the wrong claim": signed(client_id=None, aud="town"),
    "another audience": signed(**USE_ID, client_id="town", aud="other"),
    "a refresh token": signed(**USE_REFRESH, aud="town"),
    "no expiry": signed(exp=None),
    "no subject": signed(sub=None),
    "an empty subject": signed(sub=""),
    "a signature of anything": unsigned({"alg": "RS256", "kid": "a"}, b"x" * 256),
    "forged": signed(OTHER_RSA),
    "an unknown key": signed(OTHER_RSA, kid="b"),
    "no signature": unsigned({"alg": "none", "kid": "a"}),
    "none in capitals": unsigned({"alg": "NONE", "kid": "a"}),
    "a shared secret of the public key": hmac_with_the_public_key(),
    "another algorithm": signed(algorithm="RS512"),
    "changed": signed()[:-8] + "AAAAAAAA",
    "its own key": unsigned({"alg": "RS256", "kid": "a", "jwk": public(OTHER_RSA, "a")}, b"x" * 256),
    "no token": "abc",
    "empty": "",
    "endless": signed() + "A" * 9000,
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("auth"))


@pytest.mark.parametrize("why", WRONG)
def test_a_token_that_does_not_count_is_refused_and_nothing_is_written(desk: Town, pool: Pool, why: str) -> None:
    checks = verifier(pool, desk.clock)
    original, before = desk.app.state.desk, desk.stored()
    desk.app.state.desk = replace(original, verifier=checks)
    try:
        for method, path, body in (("POST", "/v1/incidents", report()), ("GET", "/v1/reference/regions", None)):
            answer = desk.client.request(method, path, json=body, headers={"Authorization": f"Bearer {WRONG[why]}"})
            assert answer.status_code == 401, why
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="city-platform", error="invalid_token"')
    finally:
        desk.app.state.desk = original
    assert desk.stored() == before


def test_other_schemes_are_refused(desk: Town) -> None:
    for header in ("Basic a2ltOmtpbQ==", "Bearer", "bearer ", "Token x"):
        assert desk.client.get("/v1/stats", headers={"Authorization": header}).status_code == 401


def test_a_token_ends_while_it_is_remembered(pool: Pool) -> None:
    clock = StandingClock(NOW)
    checks, token = verifier(pool, clock), signed()
    assert checks.actor(token) == checks.remembered(token)
    clock.time += timedelta(seconds=631)
    assert checks.remembered(token) is None
    with pytest.raises(Unauthorized, match="expired"):
        checks.actor(token)


def test_keys_rotate_and_forged_names_of_keys_do_not_make_us_ask_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_JWKS_COOLDOWN", 0.0)
    checks = verifier(pool, StandingClock(NOW))
    checks.actor(signed())
    pool.keys.append(public(EC, "b"))
    assert checks.actor(signed(EC, kid="b", algorithm="ES256")).subject == "7d1f"
    assert pool.asked == 2
    pool.keys[0] = {"kid": "a", "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "use": "sig"}
    monkeypatch.setattr(auth, "_JWKS_COOLDOWN", 30.0)
    calm = verifier(pool, StandingClock(NOW))
    for number in range(20):
        with pytest.raises(Unauthorized):
            calm.actor(signed(kid=f"forged-{number}"))
    with pytest.raises(Unauthorized):
        calm.actor(jwt.encode(GOOD, b"secret" * 6, algorithm="HS256", headers={"kid": "a"}))
    assert pool.asked == 3


def test_an_issuer_that_does_not_answer_is_no_fault_of_the_token(desk: Town) -> None:
    away = TokenVerifier(Issuer(POOL, "town"), PublishedKeys("http://127.0.0.1:9/jwks.json"), desk.clock)
    with pytest.raises(IssuerUnavailable):
        away.actor(signed())


def test_settings_of_the_issuer_are_whole_and_safe() -> None:
    assert Issuer.of({}) is None
    named = Issuer.of({auth.ISSUER: POOL, auth.AUDIENCE: "town"})
    assert named == (Issuer(POOL, "town"), f"{POOL}/.well-known/jwks.json")
    with pytest.raises(PermanentError, match=auth.AUDIENCE):
        Issuer.of({auth.ISSUER: POOL})
    with pytest.raises(PermanentError, match="https"):
        Issuer.of({auth.ISSUER: "http://sso.example", auth.AUDIENCE: "town"})


def test_the_local_issuer_keeps_its_keys_to_itself_and_rotates_them(tmp_path: Path) -> None:
    clock = StandingClock(NOW)
    issuer = LocalIssuer(tmp_path / "keys" / "issuer.json", clock)
    keys = TokenVerifier(Issuer(ISSUER, AUDIENCE), auth.OwnKeys(issuer.public_keys), clock)
    old = issuer.token("jo", ["officer"], ["downtown"], timedelta(hours=1))
    assert keys.actor(old).districts == {"downtown"}
    assert issuer.path.stat().st_mode & 0o777 == 0o600
    assert all("d" not in key for key in issuer.public_keys())
    issuer.rotate()
    fresh = issuer.token("jo", ["officer"], [], timedelta(hours=1))
    assert jwt.get_unverified_header(fresh)["kid"] != jwt.get_unverified_header(old)["kid"]
    again = TokenVerifier(Issuer(ISSUER, AUDIENCE), auth.OwnKeys(issuer.public_keys), clock)
    assert {again.actor(one).subject for one in (old, fresh)} == {"jo"}
    issuer.path.chmod(0o644)
    with pytest.raises(PermanentError, match="chmod 600"):
        issuer.token("jo", [], [], timedelta(hours=1))

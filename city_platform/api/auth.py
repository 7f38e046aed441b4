"""Who asks: bearer tokens of an OpenID Connect issuer, verified against its published keys.

Amazon Cognito is the default shape (access tokens carry `client_id`, id tokens `aud`; `token_use` tells them apart);
issuer, audience and the claims for groups and districts are settings, so any issuer will do.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import jwt
from jwt.exceptions import PyJWKClientConnectionError, PyJWKClientError, PyJWTError

from city_platform.errors import PermanentError, TransientError
from city_platform.incidents.roles import Actor
from city_platform.ports import Clock

ALGORITHMS = ("RS256", "ES256")  # asymmetric only: a public key is never a shared secret
LEEWAY = 30  # seconds that two clocks may differ
TOKEN_LIMIT = 8192  # characters
_REMEMBERED = 4096  # tokens
_MEMORY = 60.0  # seconds a verified token is not verified again; so long a withdrawn key may still count
_JWKS_LIFE = 300.0  # seconds that keys are kept
_JWKS_COOLDOWN = 30.0  # seconds between two attempts to find an unknown key
_JWKS_TIMEOUT = 5.0
_SUBJECT_LIMIT = 128

ISSUER = "CITY_PLATFORM_OIDC_ISSUER"
AUDIENCE = "CITY_PLATFORM_OIDC_AUDIENCE"
JWKS = "CITY_PLATFORM_OIDC_JWKS"
GROUPS_CLAIM = "CITY_PLATFORM_OIDC_GROUPS_CLAIM"
DISTRICTS_CLAIM = "CITY_PLATFORM_OIDC_DISTRICTS_CLAIM"


class Unauthorized(PermanentError):
    """The token does not prove who asks. `description` goes into the WWW-Authenticate header."""

    def __init__(self, description: str) -> None:
        self.description = description
        super().__init__(description)


class IssuerUnavailable(TransientError):
    """The issuer did not give its keys."""


class IncompleteIssuer(PermanentError):
    """The settings of the issuer are missing or unsafe; the message names all of them."""


class IssuerKeys(Protocol):
    """The public keys of an issuer. Raises Unauthorized for an unknown key, IssuerUnavailable."""

    def key(self, token: str) -> jwt.PyJWK: ...


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens count: their `iss`, our name in `aud` or `client_id`, and the claims for roles and districts."""

    issuer: str
    audience: str
    groups_claim: str = "cognito:groups"
    districts_claim: str = "custom:districts"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "tuple[Issuer, str] | None":
        """The issuer that the environment names, and where its keys are; None where it names none.

        Raises IncompleteIssuer.
        """
        issuer, audience = environ.get(ISSUER, ""), environ.get(AUDIENCE, "")
        if not (issuer or audience):
            return None
        missing = [name for name, value in ((ISSUER, issuer), (AUDIENCE, audience)) if not value]
        jwks = environ.get(JWKS) or f"{issuer.rstrip('/')}/.well-known/jwks.json"
        unsafe = [] if missing or _trustworthy(jwks) else [f"{jwks} has to be https"]
        if missing or unsafe:
            raise IncompleteIssuer(f"tokens cannot be verified: {'; '.join([*missing, *unsafe])}")
        found = cls(
            issuer,
            audience,
            environ.get(GROUPS_CLAIM) or "cognito:groups",
            environ.get(DISTRICTS_CLAIM) or "custom:districts",
        )
        return found, jwks


class PublishedKeys:
    """The keys at a JWKS address: kept for minutes, fetched again for an unknown one, but not at every forged name."""

    def __init__(self, address: str) -> None:
        self._client = jwt.PyJWKClient(
            address, lifespan=_JWKS_LIFE, timeout=_JWKS_TIMEOUT, cooldown_duration=_JWKS_COOLDOWN
        )

    def key(self, token: str) -> jwt.PyJWK:
        try:
            return self._client.get_signing_key_from_jwt(token)
        except PyJWKClientConnectionError as error:
            raise IssuerUnavailable("the issuer of tokens did not give its keys") from error
        except (PyJWKClientError, PyJWTError) as error:
            raise Unauthorized("the token's key is none of the issuer's") from error


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of an issuer on this machine; `read` gives them as JSON Web Keys."""

    read: Callable[[], Sequence[Mapping[str, Any]]]

    def key(self, token: str) -> jwt.PyJWK:
        try:
            wanted = jwt.get_unverified_header(token).get("kid")
        except PyJWTError as error:
            raise Unauthorized("this is no token") from error
        for one in self.read():
            if one["kid"] == wanted:
                return jwt.PyJWK(dict(one))
        raise Unauthorized("the token's key is none of the issuer's")


class TokenVerifier:
    """Turns tokens into actors. Safe between threads; may wait for the network, so keep it off the event loop."""

    def __init__(self, issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
        self._issuer = issuer
        self._keys = keys
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, float, Actor]] = OrderedDict()
        self._lock = threading.Lock()

    def remembered(self, token: str) -> Actor | None:
        """The actor of a token that was verified within the last minute and is still good."""
        seen = self._seen.get(token)
        if seen is None or time.monotonic() > seen[0] or self._clock.now().timestamp() > seen[1]:
            return None
        return seen[2]

    def actor(self, token: str) -> Actor:
        """Raises Unauthorized, IssuerUnavailable."""
        if len(token) > TOKEN_LIMIT:
            raise Unauthorized("the token is too long")
        claims = self._claims(token)
        actor = Actor.of(
            str(claims["sub"]),
            _listed(claims.get(self._issuer.groups_claim)),
            _listed(claims.get(self._issuer.districts_claim)),
        )
        with self._lock:
            self._seen[token] = (time.monotonic() + _MEMORY, float(claims["exp"]) + LEEWAY, actor)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return actor

    def _claims(self, token: str) -> Mapping[str, Any]:
        key = self._keys.key(token)
        if key.algorithm_name not in ALGORITHMS:
            raise Unauthorized(f"tokens are signed with {' or '.join(ALGORITHMS)}")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer.issuer,
                # Times are checked below, by the injected clock.
                options={"require": ["exp", "iat", "sub"], "verify_aud": False, "verify_exp": False,
                         "verify_iat": False, "verify_nbf": False},
            )  # fmt: skip
            self._check_times(claims)
            self._check_audience(claims)
            if not isinstance(claims["sub"], str) or not 1 <= len(claims["sub"]) <= _SUBJECT_LIMIT:
                raise Unauthorized("the token names no subject")
        except (PyJWTError, ValueError, TypeError, KeyError) as error:
            raise Unauthorized(_REASONS.get(type(error), "the token is not valid")) from error
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now().timestamp()
        if now > float(claims["exp"]) + LEEWAY:
            raise Unauthorized("the token has expired")
        if max(float(claims["iat"]), float(claims.get("nbf", 0))) > now + LEEWAY:
            raise Unauthorized("the token is not valid yet")

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        use = claims.get("token_use")
        if use not in (None, "access", "id"):
            raise Unauthorized("this kind of token is not accepted")
        named = claims.get("client_id") if use == "access" else claims.get("aud")
        if self._issuer.audience not in (named if isinstance(named, list) else [named]):
            raise Unauthorized("the token is for somebody else")


_REASONS: Mapping[type[Exception], str] = {
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.InvalidSignatureError: "the token's signature is wrong",
    jwt.InvalidAlgorithmError: f"tokens are signed with {' or '.join(ALGORITHMS)}",
}


def _listed(claim: object) -> Sequence[str]:
    """Several values, however the issuer writes them: a list, JSON, or a text with blanks or commas."""
    if isinstance(claim, str) and claim.startswith("["):
        try:
            claim = json.loads(claim)
        except ValueError:
            return ()
    if isinstance(claim, str):
        return claim.replace(",", " ").split()
    return [str(one) for one in claim] if isinstance(claim, list) else ()


def _trustworthy(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"})

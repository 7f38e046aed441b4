"""Decides what AWS would decide: may this principal do this action on this resource?

After "Policy evaluation logic" (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html)
for principals of the resource's own account, and of others where the resource's policy names them: an explicit deny
anywhere decides; else somebody has to allow it. Service control policies, boundaries and sessions are not modelled,
because no template here makes any. What is not understood raises NotUnderstood, so that no policy passes unread.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

Document = Mapping[str, Any]
_STATEMENT = {
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}
_SEGMENTS = 6  # of an ARN, parted by colons; the last one may hold more of them
_VARIABLE = re.compile(
    r"\$\{([a-z0-9-]+:[^}:]+)\}"
)  # `${aws:PrincipalTag/team}`; `${AWS::Region}` and resources are text


class NotUnderstood(Exception):
    """A policy says something that this evaluation knows nothing of."""


class Decision(StrEnum):
    """What a set of policies says of a request."""

    ALLOWED = "allowed"
    DENIED = "denied explicitly"
    NOT_ALLOWED = "not allowed by anybody"


@dataclass(frozen=True, slots=True)
class Request:
    """`principal` is the ARN of a role or user, an account id of outsiders, or a service's name.

    `context` holds the condition keys of the request, one value or several; a key that is not there is absent.
    """

    principal: str
    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    def of(self, **changed: Any) -> "Request":
        return replace(self, **changed)

    def values(self, key: str) -> Sequence[str] | None:
        """The values of a condition key, whose names know no case."""
        for name, value in self.context.items():
            if name.lower() == key.lower():
                return [value] if isinstance(value, str) else list(value)
        return None

    @property
    def account(self) -> str | None:
        """The account that the principal is of; a service is of none."""
        parts = self.principal.split(":")
        return parts[4] if len(parts) >= _SEGMENTS else self.principal if self.principal.isdigit() else None


def decide(
    request: Request,
    identity: Sequence[Document] = (),
    resource: Document | None = None,
    *,
    owner: str,
    endpoint: Document | None = None,
) -> Decision:
    """Of the principal's own policies, the resource's, and the endpoint's on the way; the resource is `owner`'s.

    A key's policy has to let in or to delegate: it is the only door ("Key policies" of KMS's developer guide).
    """
    everybody = [*identity, *([resource] if resource else []), *([endpoint] if endpoint else [])]
    if any(_says(document, "Deny", request) for document in everybody):
        return Decision.DENIED
    if endpoint and not _says(endpoint, "Allow", request):
        return Decision.NOT_ALLOWED
    by_identity = any(_says(document, "Allow", request) for document in identity)
    directly = resource is not None and _says(resource, "Allow", request, delegated=False)
    delegated = resource is not None and _says(resource, "Allow", request)
    if request.action.lower().startswith("kms:") or request.account not in {owner, None}:
        allowed = (directly and request.account in {owner, None}) or (delegated and by_identity)
    else:
        allowed = directly or by_identity
    return Decision.ALLOWED if allowed else Decision.NOT_ALLOWED


def _says(document: Document, effect: str, request: Request, *, delegated: bool = True) -> bool:
    """Whether a statement of that effect applies. `delegated` counts those that name the principal's whole account."""
    return any(
        statement["Effect"] == effect and applies(statement, request, delegated=delegated)
        for statement in statements(document)
    )


def statements(document: Document) -> Sequence[Mapping[str, Any]]:
    """A document's statements, checked for what this evaluation understands."""
    found = document["Statement"]
    for one in [found] if isinstance(found, Mapping) else found:
        unknown = set(one) - _STATEMENT
        if unknown or one.get("Effect") not in {"Allow", "Deny"} or "NotPrincipal" in one:
            raise NotUnderstood(f"a statement with {sorted(unknown) or one.get('Effect')}: {one.get('Sid', one)}")
        if ("Action" in one) == ("NotAction" in one):
            raise NotUnderstood(f"a statement has one of Action and NotAction: {one.get('Sid', one)}")
    return [found] if isinstance(found, Mapping) else list(found)


def applies(statement: Mapping[str, Any], request: Request, *, delegated: bool = True) -> bool:
    """Whether a statement is about this request."""
    return (
        _principal(statement.get("Principal"), request, delegated=delegated)
        and _actions(statement, request.action)
        and _resources(statement, request)
        and all(
            condition(operator, key, texts(wanted), request)
            for operator, tests in (statement.get("Condition") or {}).items()
            for key, wanted in tests.items()
        )
    )


def texts(value: Any) -> list[str]:
    """One or several, as text: YAML's true is "true"."""
    found = value if isinstance(value, list) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in found]


def _principal(named: Any, request: Request, *, delegated: bool) -> bool:
    if named is None or named == "*":
        return True  # an identity's policy names nobody
    if not isinstance(named, Mapping) or not set(named) <= {"AWS", "Service", "Federated"}:
        raise NotUnderstood(f"the principal {named!r}")
    if request.account is None:
        return any(matches(one, request.principal) for one in texts(named.get("Service", [])))
    for one in texts(named.get("AWS", [])):
        if one in {"*", request.principal}:
            return True
        whole = re.fullmatch(r"(?:arn:[^:]*:iam::)?([^:]+?)(?::root)?", one)
        if delegated and whole and (one.endswith(":root") or one.isdigit()) and whole[1] == request.account:
            return True
    return False


def _actions(statement: Mapping[str, Any], action: str) -> bool:
    listed = texts(statement.get("Action", statement.get("NotAction")))
    found = any(matches(one.lower(), action.lower()) for one in listed)
    return found == ("Action" in statement)


def _resources(statement: Mapping[str, Any], request: Request) -> bool:
    if "Resource" not in statement and "NotResource" not in statement:
        return True  # a role's trust policy is about the role
    listed = texts(statement.get("Resource", statement.get("NotResource")))
    found = any(wanted is not None and arn_matches(wanted, request.resource) for wanted in _filled(listed, request))
    return found == ("Resource" in statement)


def _filled(listed: Iterable[str], request: Request) -> Iterable[str | None]:
    """With the policy's variables filled in from the request; None where it has no such value."""
    for one in listed:
        values = {name: request.values(name) for name in _VARIABLE.findall(one) if not name.startswith("import:")}
        if any(value is None or len(value) != 1 for value in values.values()):
            yield None
        else:
            yield _VARIABLE.sub(lambda found, known=values: (known.get(found[1]) or [found[0]])[0], one)


@lru_cache(maxsize=10_000)
def matches(pattern: str, text: str) -> bool:
    """`*` is any text, `?` any one character; nothing else is special."""
    expression = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def arn_matches(pattern: str, arn: str) -> bool:
    """Segment by segment, so that a `*` in one does not reach into the next; `*` alone is everything.

    A reference to a resource that a template leaves open (`${RawBucket.Arn}/*`) stands for its ARN.
    """
    if pattern == "*":
        return True
    if pattern.startswith("${"):
        return matches(pattern, arn)
    wanted, given = pattern.split(":", _SEGMENTS - 1), arn.split(":", _SEGMENTS - 1)
    return len(wanted) == len(given) and all(map(matches, wanted, given))


def _is_in(network: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.lower() == given.lower(),
    "StringLike": matches,
    "ArnEquals": arn_matches,  # the same as ArnLike, says the reference
    "ArnLike": arn_matches,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
    "NumericEquals": lambda wanted, given: float(given) == float(wanted),
    "NumericLessThan": lambda wanted, given: float(given) < float(wanted),
    "NumericLessThanEquals": lambda wanted, given: float(given) <= float(wanted),
    "NumericGreaterThan": lambda wanted, given: float(given) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, given: float(given) >= float(wanted),
    "IpAddress": _is_in,
}
_NEGATIONS: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "NotIpAddress": "IpAddress",
}


def condition(operator: str, key: str, wanted: Sequence[str], request: Request) -> bool:
    """One line of a Condition, after "IAM JSON policy elements: Condition operators" of IAM's user guide.

    Several wanted values are alternatives, and under a negated operator all have to differ. A key that the request
    lacks fails, but for negated operators, `…IfExists` and `ForAllValues:`.
    """
    several, _, plain = operator.rpartition(":")
    given = request.values(key)
    if plain == "Null":
        return (given is None) == (wanted[0] == "true")
    if_exists = plain.endswith("IfExists")
    name = plain.removesuffix("IfExists")
    negated = name in _NEGATIONS
    test = _TESTS.get(_NEGATIONS.get(name, name))
    if test is None or several not in {"", "ForAllValues", "ForAnyValue"}:
        raise NotUnderstood(f"the condition operator {operator}")
    if given is None or (not given and several):
        return if_exists or several == "ForAllValues" or (negated and several != "ForAnyValue")
    filled = [one for one in _filled(wanted, request) if one is not None]
    outcomes = [any(test(one, value) for one in filled) != negated for value in given]
    return all(outcomes) if several == "ForAllValues" or (negated and not several) else any(outcomes)

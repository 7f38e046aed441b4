"""Reading policy documents for rules."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.templates import Resource, Stack


def listed(value: Any) -> list[Any]:
    """What a policy may write alone or as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def statements(document: Any) -> list[Mapping[str, Any]]:
    return listed((document or {}).get("Statement"))


def policies_of(kind: str, attribute: str, resource: Resource, stack: Stack) -> Iterator[Mapping[str, Any]]:
    """The statements of those policies of a type whose `attribute` names the resource."""
    for one in stack.resources(kind):
        if f"${{{resource.name}}}" in listed(one.properties.get(attribute)):
            yield from statements(one.properties.get("PolicyDocument"))


def anybody(statement: Mapping[str, Any]) -> bool:
    """Whether the statement is about every principal."""
    principal = statement.get("Principal")
    return principal == "*" or (isinstance(principal, Mapping) and "*" in listed(principal.get("AWS")))


def denies_plain_connections(found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nobody gets through without TLS, with whatever action."""
    return any(
        one["Effect"] == "Deny"
        and anybody(one)
        and str(one.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")).lower() == "false"
        for one in found
    )


def narrowed(statement: Mapping[str, Any]) -> bool:
    """Whether a service's calls count only where they are made for this account or one of its resources."""
    named = {key.lower() for condition in statement.get("Condition", {}).values() for key in condition}
    return any(
        key in {"aws:sourceaccount", "aws:sourcearn", "aws:principalorgid", "aws:sourceowner"}
        or key.startswith("kms:encryptioncontext:")
        for key in named
    )

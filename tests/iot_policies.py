"""Decides what AWS IoT Core would decide: may this device do this?

After "AWS IoT Core policies" and "Thing policy variables" (AWS IoT Core Developer Guide): an explicit deny decides,
else somebody has to allow it; `*` stands for any characters, slashes too, `?` for one, and MQTT's own wildcards are
plain characters; a statement whose policy variables have no value applies to nobody. Things have variables only under
their own name as client id and with their certificate attached. What is not understood raises NotUnderstood.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_VARIABLE = re.compile(r"\$\{(iot:[^}]+)\}")
_KINDS = {
    "iot:Connect": "client",
    "iot:Publish": "topic",
    "iot:Receive": "topic",
    "iot:Subscribe": "topicfilter",
    "iot:AssumeRoleWithCertificate": "rolealias",
}


class NotUnderstood(Exception):
    """A policy says something that this evaluation knows nothing of."""


@dataclass(frozen=True, slots=True)
class Device:
    """Who connects: its client id, and the thing that its certificate is attached to, if it is."""

    client: str
    thing: str
    kind: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    attached: bool = True

    def value(self, variable: str) -> str | None:
        """What a policy variable, or the condition key of its name, stands for; None: nothing."""
        if variable == "iot:ClientId":
            return self.client
        known = self.attached and self.client == self.thing
        if variable == "iot:Connection.Thing.IsAttached":
            return str(known).lower()
        if not known:
            return None
        found = re.fullmatch(r"iot:Connection\.Thing\.Attributes\[(\w+)\]", variable)
        if found:
            return self.attributes.get(found[1])
        names = {"iot:Connection.Thing.ThingName": self.thing, "iot:Connection.Thing.ThingTypeName": self.kind}
        if variable not in names:
            raise NotUnderstood(f"policy variable {variable}")
        return names[variable]


def allowed(policies: Iterable[Mapping[str, Any]], device: Device, action: str, name: str) -> bool:
    """Whether the policies (documents) let the device do it; `name` is the topic, the filter or the client id."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in policy["Statement"]
        if _applies(statement, device, action, name)
    }
    if not effects <= {"Allow", "Deny"}:
        raise NotUnderstood(f"effects {effects}")
    return effects == {"Allow"}


def _applies(statement: Mapping[str, Any], device: Device, action: str, name: str) -> bool:
    if unknown := set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}:
        raise NotUnderstood(f"a statement with {unknown}")
    return (
        any(_matches(one, action) for one in _several(statement["Action"]))
        and any(_is(one, device, f"{_KINDS[action]}/{name}") for one in _several(statement["Resource"]))
        and all(
            _holds(operator, device.value(key), _several(expected))
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _is(resource: str, device: Device, name: str) -> bool:
    """Whether a resource pattern is what is asked for, by what follows the account in its ARN."""
    if resource == "*":
        return True
    pattern, place = [], 0
    text = resource.split(":", 5)[-1]
    for found in _VARIABLE.finditer(text):
        value = device.value(found[1])
        if value is None:
            return False
        pattern += [_wild(text[place : found.start()]), re.escape(value)]
        place = found.end()
    return re.fullmatch("".join([*pattern, _wild(text[place:])]), name, re.DOTALL) is not None


def _holds(operator: str, value: str | None, expected: Sequence[str]) -> bool:
    if operator in {"StringEquals", "Bool"}:
        return value in expected
    if operator == "StringLike":
        return value is not None and any(_matches(one, value) for one in expected)
    raise NotUnderstood(f"condition operator {operator}")


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(_wild(pattern), text, re.DOTALL) is not None


def _wild(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)


def _several(value: Any) -> Sequence[str]:
    return [value] if isinstance(value, str) else value

"""What AWS says of resource types and of actions, as cfn-lint carries it; importing that would take seconds.

Sources: the schemas of CloudFormation's registry of resource types, and the Service Authorization Reference.
"""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from city_platform.errors import PermanentError

# What CloudFormation does to a stack's resources. `list` is for whoever looks for resources of no stack.
_HANDLERS = ("create", "read", "update", "delete")


class NoRegistry(PermanentError):
    """The development tools are not installed, or do not know a type."""


@cache
def schema(kind: str) -> Mapping[str, Any]:
    """The registry's schema of a type; empty for a custom one, or one that AWS does not know. Raises NoRegistry."""
    name = _index().get(kind)
    found = json.loads((_folder() / "schemas" / "resources" / f"{name}.json").read_text("utf-8")) if name else {}
    return dict(found)


def permissions(kind: str) -> set[str]:
    """The actions that CloudFormation's handlers of a type call, and its tags need, as `service:Action`.

    Those that are no actions of AWS are left out: schemas name some. Raises NoRegistry for a type that has none.
    """
    told = schema(kind)
    handlers = told.get("handlers", {})
    if not handlers:
        raise NoRegistry(f"AWS says nothing of what making a {kind} needs: write it into infrastructure/rights")
    listed = [action for name in _HANDLERS for action in handlers.get(name, {}).get("permissions", ())]
    listed += told.get("tagging", {}).get("permissions", ())
    split = (action.partition(":") for action in listed)
    return {f"{service.lower()}:{name}" for service, _, name in split if f"{service}:{name}".lower() in actions()}


@cache
def actions() -> Mapping[str, Sequence[str]]:
    """Every action in small letters, and the kinds of resources it can be limited to. Raises NoRegistry."""
    listed = json.loads((_folder() / "AdditionalSpecs" / "Policies.json").read_text("utf-8"))
    return {
        f"{service}:{action}": told.get("Resources", ())
        for service, about in listed.items()
        for action, told in about["Actions"].items()
    }


@cache
def _index() -> Mapping[str, str]:
    return dict(json.loads((_folder() / "schemas" / "providers" / "us-east-1.json").read_text("utf-8")))


@cache
def _folder() -> Path:
    spec = importlib.util.find_spec("cfnlint")
    if spec is None or spec.origin is None:
        raise NoRegistry("cfn-lint is not installed, which carries what AWS says of its resource types: uv sync")
    return Path(spec.origin).parent / "data"

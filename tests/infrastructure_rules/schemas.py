"""What the registry of AWS says of a resource type, as cfn-lint carries it; importing that would take seconds."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def tag_property(kind: str) -> str | None:
    """The property that holds a type's tags; None where it takes none, or where AWS does not know the type."""
    schema = _schema(kind)
    tagging = schema.get("tagging", {})
    if not tagging.get("taggable", schema.get("taggable", False)):
        return None
    return str(tagging.get("tagProperty", "/properties/Tags")).rpartition("/")[-1]


def _schema(kind: str) -> Any:
    """The registry's schema of a type; empty for a custom one."""
    name = _index().get(kind)
    return json.loads((_folder() / "resources" / f"{name}.json").read_text("utf-8")) if name else {}


@cache
def _index() -> Any:
    return json.loads((_folder() / "providers" / "us-east-1.json").read_text("utf-8"))


@cache
def _folder() -> Path:
    spec = importlib.util.find_spec("cfnlint")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "schemas"

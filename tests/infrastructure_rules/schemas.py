"""What a rule asks of AWS's registry of resource types."""

from functools import cache

from city_platform.infrastructure.registry import schema


@cache
def tag_property(kind: str) -> str | None:
    """The property that holds a type's tags; None where it takes none, or where AWS does not know the type."""
    told = schema(kind)
    tagging = told.get("tagging", {})
    if not tagging.get("taggable", told.get("taggable", False)):
        return None
    return str(tagging.get("tagProperty", "/properties/Tags")).rpartition("/")[-1]

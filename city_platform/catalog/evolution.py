"""What changed between a table's schema and the one that is seen now, and what of it may happen by itself.

A column more, another order and other words are additive: they are taken over and recorded. A column less and another
type are breaking: whoever reads the table would fail or, worse, read something else. They wait until a person approves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from city_platform.ports import CatalogColumn


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One difference. Kinds: added-column, removed-column, changed-type, described."""

    kind: str
    column: str
    message: str

    @property
    def breaking(self) -> bool:
        return self.kind in {"removed-column", "changed-type"}


def schema_changes(before: Sequence[CatalogColumn], now: Sequence[CatalogColumn]) -> list[SchemaChange]:
    """Everything that is different; names are compared regardless of case, as Athena does."""
    old, new = _named(before), _named(now)
    changes = [
        SchemaChange("removed-column", column.name, f"{column.name} ({column.type}) is gone")
        for name, column in old.items()
        if name not in new
    ]
    for name, column in new.items():
        known = old.get(name)
        if known is None:
            changes.append(SchemaChange("added-column", column.name, f"{column.name} ({column.type}) is there"))
        elif known.type != column.type:
            message = f"{column.name} was {known.type} and is {column.type}"
            changes.append(SchemaChange("changed-type", column.name, message))
        elif known != column:
            different = [
                one for one in ("name", "description", "source", "classification") if _differs(known, column, one)
            ]
            changes.append(SchemaChange("described", column.name, f"{column.name} has another {', '.join(different)}"))
    return changes


def merged(before: Sequence[CatalogColumn], now: Sequence[CatalogColumn]) -> tuple[CatalogColumn, ...]:
    """The schema with all additive changes and none of the breaking ones: what was there keeps its type and stays."""
    old, new = _named(before), _named(now)
    kept = [replace(new[name], type=column.type) if name in new else column for name, column in old.items()]
    return (*kept, *(column for name, column in new.items() if name not in old))


def _named(columns: Sequence[CatalogColumn]) -> Mapping[str, CatalogColumn]:
    return {column.name.casefold(): column for column in columns}


def _differs(one: CatalogColumn, other: CatalogColumn, attribute: str) -> bool:
    return bool(getattr(one, attribute) != getattr(other, attribute))

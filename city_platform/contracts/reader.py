"""Reads parts of a parsed contract and collects what is wrong with them.

A reader keeps silent about what the standard's own check reports: a value of another type than the standard's, and
a key that the standard requires. So no mistake is reported twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from city_platform.contracts.odcs import closest
from city_platform.contracts.yaml_lines import Document, Path
from city_platform.errors import Finding

# Custom properties that mean something to the platform, by the part of the contract they stand in.
KEEP_VERSIONS, KEEP_DAYS, KEEP_ROWS_DAYS = "keepVersions", "keepDays", "keepRowsDays"
CONTRACT_PROPERTIES = frozenset({"licence", "timezone", "latestBy", KEEP_VERSIONS, KEEP_DAYS, KEEP_ROWS_DAYS})
SCHEMA_PROPERTIES = frozenset({"noPrimaryKey", "partitionTransform", "firstYear", "lastYear"})
COLUMN_PROPERTIES = frozenset(
    {"masking", "partitionTransform", "dateFormats", "firstYear", "lastYear", "sourceRequired"}
)
SERVER_PROPERTIES = frozenset({"cadence"})
_MISSPELT = 0.85  # likeness from which another name is taken for a slip of the pen; licenceUrl is no licence
_PLACES = (
    (CONTRACT_PROPERTIES, "the contract"),
    (COLUMN_PROPERTIES, "a property of the schema"),
    (SCHEMA_PROPERTIES, "the schema object"),
    (SERVER_PROPERTIES, "a server of type api"),
)


@dataclass(frozen=True, slots=True)
class Custom:
    """One custom property's value and where it stands."""

    value: object
    path: Path


@dataclass(slots=True)
class Reader:
    """A document, its file's name and the findings so far."""

    document: Document
    file: str
    findings: list[Finding] = field(default_factory=list)

    def report(self, path: Path, problem: str, remedy: str) -> None:
        """A mistake in the value at `path`."""
        self.findings.append(Finding(self.file, *self.document.place(path), problem, remedy))

    def get(self, path: Path) -> object:
        """The value at `path`, or None."""
        value = self.document.value
        for step in path:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def items(self, path: Path) -> list[tuple[Path, Mapping[str, object]]]:
        """The mappings in the list at `path`, each with its own path."""
        entries = self.get(path)
        if not isinstance(entries, list):
            return []
        return [((*path, place), one) for place, one in enumerate(entries) if isinstance(one, Mapping)]

    def has(self, path: Path) -> bool:
        return path in self.document.values

    def text(self, path: Path, remedy: str, *, by_standard: bool = False) -> str:
        """The text at `path`, '' where there is none; a missing one is reported unless the standard requires it."""
        if not self.has(path):
            if not by_standard:
                owner = self._owner(path)
                self.report(path[:-1], f"{owner} has no '{path[-1]}'", remedy)
            return ""
        value = self.get(path)
        if isinstance(value, str) and not value.strip():
            self.report(path, f"'{path[-1]}' is empty", remedy)
        return value.strip() if isinstance(value, str) else ""

    def flag(self, path: Path) -> bool:
        """Whether `true` stands at `path`."""
        return self.get(path) is True

    def custom(self, path: Path, known: frozenset[str]) -> dict[str, Custom]:
        """The custom properties of the part at `path`; misspelt, misplaced and repeated ones are reported."""
        found: dict[str, Custom] = {}
        for entry, item in self.items((*path, "customProperties")):
            name = item.get("property")
            if not isinstance(name, str) or "value" not in item:
                continue  # the standard's check says so
            where = (*entry, "property")
            if name in found:
                self.report(where, f"the custom property '{name}' stands here again", "keep one of the two")
                continue
            found[name] = Custom(item["value"], (*entry, "value"))
            if name not in known:
                self._check_unknown(where, name, known)
        return found

    def _check_unknown(self, where: Path, name: str, known: Iterable[str]) -> None:
        for names, place in _PLACES:
            if name in names:
                self.report(where, f"the custom property '{name}' has no effect here", f"move it to {place}")
                return
        guess = closest(name, known, cutoff=_MISSPELT)
        if guess:
            self.report(where, f"the custom property '{name}' has no effect", f"write '{guess}'")

    def _owner(self, path: Path) -> str:
        """What the key at the end of `path` would belong to, in words."""
        name = self.get((*path[:-1], "name"))
        if "properties" in path and isinstance(name, str):
            return f"the column {name!r}"
        return f"'{path[-2]}'" if len(path) > 1 and isinstance(path[-2], str) else "the contract"

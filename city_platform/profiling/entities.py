"""Does a column hold personal data? Told by the form of its values and, where a form alone says little, by its name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from city_platform.contracts.model import Classification
from city_platform.engines.duckdb import DuckDBSession
from city_platform.profiling.model import ColumnProfile, Entity

LOOKED_AT = 10_000  # distinct values, the same ones every time


@dataclass(frozen=True, slots=True)
class _Kind:
    """`value` has to match the whole of at least `share` of the values, `name` some part of the column's name."""

    kind: str
    value: str
    share: float
    name: str = ""


_AREA_AND_EXCHANGE = "(?:[+]?1[ .-]?)?[(]?[2-9][0-9]{2}[)]?{gap}[2-9][0-9]{2}{gap}[0-9]{4}(?: *(?:x|ext)[.]? *[0-9]+)?"
_WORD = r"[\p{Lu}][\p{L}'.\x{2019}-]*"
_SIGNIFICANT = 0.2  # a fifth of the values is no accident

# Names are compared in small letters, with words divided by spaces.
_KINDS = (
    _Kind("EMAIL", r"[^@\s]+@[^@\s]+[.][A-Za-z]{2,}", _SIGNIFICANT),
    _Kind("PHONE_NUMBER", _AREA_AND_EXCHANGE.replace("{gap}", "[ .-]"), _SIGNIFICANT),
    _Kind(
        "PHONE_NUMBER", _AREA_AND_EXCHANGE.replace("{gap}", "[ .-]?"), _SIGNIFICANT, r"\b(phone|tel|fax|mobile|cell)"
    ),
    _Kind(
        "POSTAL_CODE", "(?i)[ABCEGHJ-NPRSTVXY][0-9][ABCEGHJ-NPRSTV-Z][ -]?[0-9][ABCEGHJ-NPRSTV-Z][0-9]", _SIGNIFICANT
    ),
    _Kind("IP_ADDRESS", r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])", 0.5),
    _Kind(
        "PERSON_NAME",
        rf"\(?{_WORD},? {_WORD}(?: {_WORD}){{0,3}}\)?",
        _SIGNIFICANT,
        r"\b(name|applicant|owner|contractor|surname|contact|officer|employee|driver|resident)\b",
    ),
    _Kind("STREET_ADDRESS", r"#?[0-9].*[\p{L}]{2}(?s:.*)", 0.5, r"\b(address|addr)\b"),
)
_BORDERS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


def entities(session: DuckDBSession, column: str, counted: str) -> tuple[Entity, ...]:
    """What the column seems to hold. `counted` is a relation of value and n, how often it occurs."""
    words = _BORDERS.sub(" ", column).casefold()
    kinds = [kind for kind in _KINDS if not kind.name or re.search(kind.name, words)]
    matched = ", ".join(
        f"sum(n) FILTER (WHERE {session.dialect.matches_fully('value', kind.value)}) / sum(n)" for kind in kinds
    )
    # The same values whatever the order of the rows and the number of threads.
    sample = f"SELECT CAST(value AS VARCHAR) AS value, n FROM {counted} ORDER BY hash(value), value LIMIT {LOOKED_AT}"
    (shares,) = session.rows(f"SELECT {matched} FROM ({sample})")
    found: dict[str, float] = {}
    for kind, share in zip(kinds, shares, strict=True):
        if share is not None and share >= kind.share:
            found[kind.kind] = max(found.get(kind.kind, 0.0), float(share))
    return tuple(Entity(kind, share) for kind, share in found.items())


def unclassified_entities(columns: Sequence[ColumnProfile]) -> Iterator[str]:
    """What the contract does not call personal and seems to be."""
    for column in columns:
        if column.entities and column.classification not in {None, Classification.PERSONAL}:
            kinds = ", ".join(f"{entity.kind} ({entity.share:.0%} of the values)" for entity in column.entities)
            yield (
                f"{column.name} is classified {column.classification} and seems to hold {kinds}: "
                "classify it as personal in contract.yaml, or make sure that it names no person"
            )

"""A file's headers against the contract: what is there under which name, and what drifted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from city_platform.contracts.model import Column, Contract
from city_platform.errors import PermanentError

RESERVED = ("_row", "_source", "_reason")  # the platform's own columns beside the file's


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between a file's headers and the contract.

    Kinds: new-column, missing-column, renamed-column, duplicate-column, foreign-file. What is breaking stops the file.
    """

    kind: str
    column: str  # the file's header where it has one, else the contract's source name
    breaking: bool
    message: str


class BreakingDrift(PermanentError):
    """The file's headers do not fit the contract; `drift` holds everything found, harmless changes too."""

    def __init__(self, file: str, dataset: str, drift: Sequence[Drift]) -> None:
        self.file, self.drift = file, tuple(drift)
        breaking = [one for one in drift if one.breaking]
        foreign = [one for one in breaking if one.kind == "foreign-file"]
        lines = "\n".join(f"  {one.kind}: {one.message}" for one in foreign or breaking)
        super().__init__(
            f"{file} does not fit the contract of {dataset}; nothing was taken in:\n{lines}\n"
            "Correct the file, or add the headers as aliases to contract.yaml if the source changed for good."
        )


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """`present` maps a contract's source name to the header that carries it in this file."""

    present: Mapping[str, str]
    drift: tuple[Drift, ...]

    @property
    def breaking(self) -> bool:
        return any(one.breaking for one in self.drift)


def named_headers(headers: Sequence[str]) -> tuple[str, ...]:
    """The headers as the rows' column names: without a byte order mark, empty ones named by position (column_3)."""
    clean = (header.replace("\ufeff", "") for header in headers)
    return tuple(header if header.strip() else f"column_{place}" for place, header in enumerate(clean, 1))


def match_headers(headers: Sequence[str], contract: Contract) -> HeaderMatch:
    """Matches by source name, then by alias; case, white space and byte order marks do not count.

    The partition column is required whatever the contract says of it: without it no row has a year.
    """
    headers = named_headers(headers)
    carriers = _carriers(headers, contract)
    present = {name: found[0] for name, found in carriers.items()}
    required = [column for column in contract.columns if _required(column, contract)]
    drift = [*_foreign(required, present, contract), *_missing(present, contract)]
    for column in contract.columns:
        found = carriers.get(column.source_name, [])
        if found and _plain(found[0]) != _plain(column.source_name):
            message = f"{column.source_name} comes as {found[0]}, a known alias"
            drift.append(Drift("renamed-column", found[0], False, message))
        if len({_plain(header) for header in found}) > 1:
            message = f"{column.source_name} comes more than once, as {', '.join(found)}; keep one of them"
            drift.append(Drift("duplicate-column", found[1], True, message))
    claimed = {_plain(header) for found in carriers.values() for header in found}
    for header, times in Counter(map(_plain, headers)).items():
        written = next(one for one in headers if _plain(one) == header)
        if header in RESERVED:
            message = f"{written} is a name the platform itself uses; rename the column in the file"
            drift.append(Drift("duplicate-column", written, True, message))
        elif times > 1:
            message = f"{written} stands {times} times in the header (case and spaces do not count); keep one"
            drift.append(Drift("duplicate-column", written, True, message))
        elif header not in claimed:
            message = f"{written} is not in the contract; it is kept in the raw rows and not used"
            drift.append(Drift("new-column", written, False, message))
    return HeaderMatch(present, tuple(drift))


def _plain(header: str) -> str:
    return "".join(header.replace("\ufeff", "").split()).casefold()


def _carriers(headers: Sequence[str], contract: Contract) -> dict[str, list[str]]:
    """Source name to the headers that carry it; a header that is some column's source name is no other's alias."""
    by_source = {_plain(column.source_name): column.source_name for column in contract.columns}
    by_alias = {_plain(alias): column.source_name for column in reversed(contract.columns) for alias in column.aliases}
    found: dict[str, list[str]] = {}
    for names in (by_source, {alias: name for alias, name in by_alias.items() if alias not in by_source}):
        for header in headers:
            if source_name := names.get(_plain(header)):
                found.setdefault(source_name, []).append(header)
    return found


def _required(column: Column, contract: Contract) -> bool:
    return column.required_in_source or column.source_name == contract.partitioning.source_name


def _missing(present: Mapping[str, str], contract: Contract) -> list[Drift]:
    drift = []
    for column in contract.columns:
        if column.source_name not in present:
            required = _required(column, contract)
            wanted = " or ".join([column.source_name, *column.aliases])
            message = f"no header {wanted}" + ("" if required else "; the column stays empty")
            drift.append(Drift("missing-column", column.source_name, required, message))
    return drift


def _foreign(required: Sequence[Column], present: Mapping[str, str], contract: Contract) -> list[Drift]:
    there = sum(column.source_name in present for column in required)
    if 2 * there >= len(required):
        return []
    message = (
        f"only {there} of the {len(required)} required columns are there: "
        f"this looks like another dataset's file, not one of {contract.name}"
    )
    return [Drift("foreign-file", "", True, message)]

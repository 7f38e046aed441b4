"""What a dataset's contract says, as plain values.

A contract is written in the Open Data Contract Standard (`contract.yaml`); `contracts.load` turns the file into
these classes. Everything else in the platform reads the classes, never the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from city_platform.contracts.partitions import Granularity


class Classification(StrEnum):
    """How far a column may travel.

    `PUBLIC` is published as it is. `INTERNAL` stays with staff. `PERSONAL` says something about a person: it is
    masked in everything published, never shown in metadata, and encrypted under a key of its own.
    """

    PUBLIC = "public"
    INTERNAL = "internal"
    PERSONAL = "personal"


class Masking(StrEnum):
    """How a personal column appears outside the encrypted layer (see `protection.masking`)."""

    REDACT = "redact"  # null
    PSEUDONYM = "pseudonym"  # keyed hash: the same person stays recognisable as the same, nobody learns who
    POSTAL_AREA = "postal_area"  # the first three characters of a Canadian postal code
    COARSE_POINT = "coarse_point"  # coordinates rounded to two decimals, about a kilometre


class PartitionTransform(StrEnum):
    """How the partition column's text names the partition."""

    FOUR_DIGITS = "four-digit-year"  # 2024
    TWO_DIGITS = "two-digit-year"  # 24 is 2024, 97 is 1997
    YEAR = "year-of-date"  # 2024-05-01 or 2024-05, or one of the formats the contract lists
    DAY = "day-of-date"  # 2024-05-01, also with a time behind it, or one of the formats the contract lists
    HOUR = "hour-of-time"  # 2024-05-01T13:05:00-07:00: a time with its offset
    SNAPSHOT = "snapshot-year"  # no column tells it: the year in which the list was taken

    @property
    def granularity(self) -> Granularity:
        """How long the partitions are."""
        return _GRANULARITIES.get(self, Granularity.YEAR)

    @property
    def takes_formats(self) -> bool:
        """Whether the contract may list date formats beside ISO 8601."""
        return self in {PartitionTransform.YEAR, PartitionTransform.DAY}


_GRANULARITIES = {PartitionTransform.DAY: Granularity.DAY, PartitionTransform.HOUR: Granularity.HOUR}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the dataset, from the source's header to the trusted table."""

    name: str  # in the cleaned layer and everything after it
    source_name: str  # the source's current header
    aliases: tuple[str, ...]  # headers the source used at other times
    logical_type: str  # ODCS: string, integer, number, boolean, date, timestamp
    sql_type: str  # the column's type in the cleaned layer, in DuckDB's words: VARCHAR, DECIMAL(12,2), ...
    classification: Classification
    description: str
    required_in_source: bool  # a file without this column is a breaking drift
    nullable: bool
    key_position: int | None  # place in the primary key, from 1
    masking: Masking | None  # only for personal columns
    line: int  # where contract.yaml declares it

    @property
    def personal(self) -> bool:
        return self.classification is Classification.PERSONAL


@dataclass(frozen=True, slots=True)
class Partitioning:
    """One partition a year, day or hour, read from one source column's text; of a snapshot, the year it was taken."""

    source_name: str | None  # None for `PartitionTransform.SNAPSHOT`
    transform: PartitionTransform
    date_formats: tuple[str, ...] = ()  # strptime formats beside ISO 8601, where the transform takes them
    first_year: int = 1990  # a year outside first_year..last_year is a mistake in the row
    last_year: int = 2100
    timezone: str = "America/Vancouver"  # whose calendar counts where a time has an offset

    @property
    def granularity(self) -> Granularity:
        """How long the partitions are."""
        return self.transform.granularity


@dataclass(frozen=True, slots=True)
class PortalSource:
    """One dataset of an open data portal that rows come from; a contract has one for each era of its data."""

    server: str  # the contract's name for it, as `2013-2024`
    location: str  # address of the portal's dataset: https://HOST/api/explore/v2.1/catalog/datasets/ID
    cadence: str  # how often the portal changes it: one of `CADENCES`
    description: str = ""

    @property
    def portal_id(self) -> str:
        """The dataset's name on the portal."""
        return self.location.rsplit("/", 1)[-1]


CADENCES = ("daily", "weekly", "monthly", "quarterly", "annual", "static")


@dataclass(frozen=True, slots=True)
class Member:
    """A role account of the dataset's team. The days, if any, are its first and its last in the role."""

    account: str
    role: str
    first_day: date | None = None
    last_day: date | None = None


@dataclass(frozen=True, slots=True)
class OldVersions:
    """Which old versions of a partition are kept: so many of the newest, and those superseded less than `age` ago."""

    versions: int = 3  # the newest itself is one of them
    age: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Contract:
    """A dataset's contract. Names and texts are the steward's; times are in `timezone`."""

    id: str
    name: str  # [a-z][a-z0-9_]*: the folder's name, the asset key's first part
    title: str
    purpose: str
    version: str
    owner: str  # a team, as `team:open-data`
    domain: str
    licence: str
    source_url: str
    cadence: str  # of the dataset as a whole: one of `CADENCES`, or hourly where it is exported as it comes
    freshness: timedelta  # the newest materialization may be this old
    columns: tuple[Column, ...]
    partitioning: Partitioning
    latest_by: str | None  # cleaned column deciding which of two rows with one key is the newer
    timezone: str = "America/Vancouver"
    tags: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    sources: tuple[PortalSource, ...] = ()  # in the contract's order
    exported: bool = False  # another part of the platform writes its rows into the lake; no files are landed
    old_versions: OldVersions = OldVersions()
    rows_kept: timedelta | None = None  # after a partition's end; then its single rows go, and its sums stay
    extra: Mapping[str, str] = field(default_factory=dict)
    draft: bool = False  # not part of the platform yet (see `contracts.decisions`)

    @property
    def key(self) -> tuple[Column, ...]:
        """The primary key's columns in order; empty where the source has none."""
        keyed = [column for column in self.columns if column.key_position is not None]
        return tuple(sorted(keyed, key=lambda column: column.key_position or 0))

    def column(self, name: str) -> Column:
        """The column of that cleaned name, whatever its case; KeyError if there is none."""
        for candidate in self.columns:
            if candidate.name.casefold() == name.casefold():
                return candidate
        raise KeyError(name)

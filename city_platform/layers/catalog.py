"""Catalog: every table of the lake, brought up to date from the manifests; its views and its data dictionary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from city_platform.catalog.crawler import TableReport, crawl
from city_platform.catalog.dictionary import dictionary
from city_platform.catalog.discovery import Duplicate, duplicates, undescribed
from city_platform.catalog.views import publish_views
from city_platform.datasets import Dataset
from city_platform.errors import PermanentError
from city_platform.governance.decisions import Desk
from city_platform.lake.sink import workspace
from city_platform.layers.platform import Platform
from city_platform.ports import CatalogTable

SUBJECT = "catalog"
TABLES, DICTIONARY = "tables", "dictionary"


class UnknownTable(PermanentError):
    """The catalog holds no table of that name."""


class NothingToApprove(PermanentError):
    """The table has no breaking change."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh found. `undescribed` and `duplicates` are for a person to look at."""

    tables: tuple[CatalogTable, ...]
    reports: tuple[TableReport, ...]
    views: tuple[str, ...]
    undescribed: tuple[str, ...]
    duplicates: tuple[Duplicate, ...]

    @property
    def columns(self) -> int:
        return sum(len(table.columns) + len(table.partition_keys) for table in self.tables)


def refresh(platform: Platform, datasets: Sequence[Dataset], approved: frozenset[str] = frozenset()) -> Refreshed:
    """Crawls every dataset and publishes the views anew; breaking changes only of the tables in `approved`."""
    reports = [one for dataset in datasets for one in crawl(platform.catalog, platform.lake, dataset, approved)]
    with workspace(platform.lake) as folder:
        views = publish_views(platform.catalog, platform.lake, folder)
    tables = platform.catalog.tables()
    return Refreshed(
        tables=tuple(tables),
        reports=tuple(reports),
        views=tuple(views),
        undescribed=tuple(undescribed(tables)),
        duplicates=tuple(duplicates(tables, platform.lake, [dataset.name for dataset in datasets])),
    )


def approve(
    platform: Platform, datasets: Sequence[Dataset], table: str, *, actor: str, account: str, reason: str
) -> Refreshed:
    """Lets the breaking changes of a table, `cleaned.trees`, happen; `actor` has to be a steward of its dataset.

    The approval is in the audit log before anything changes. Raises UnknownTable, NothingToApprove,
    NotEntitled, InvalidDecision and the log's errors.
    """
    known = {dataset.name: dataset for dataset in datasets}
    dataset = known.get(table.partition(".")[2])
    reports = {one.table: one for one in crawl(platform.catalog, platform.lake, dataset)} if dataset else {}
    if dataset is None or table not in reports:
        names = sorted(f"{one.database}.{one.name}" for one in platform.catalog.tables())
        raise UnknownTable(f"there is no table {table}; there are: {', '.join(names) or 'none'}")
    held = [change.message for change in reports[table].held]
    if not held:
        raise NothingToApprove(f"nothing of {table} waits for approval")
    Desk(platform.audit, dataset.contract, actor, account).approve(table, held, reason)
    return refresh(platform, datasets, frozenset({table}))


def dictionary_pages(platform: Platform, datasets: Sequence[Dataset]) -> Mapping[str, str]:
    """File name to HTML, from the contracts and what the catalog knows by now."""
    tables = platform.catalog.tables()
    partitions = {f"{one.database}.{one.name}": platform.catalog.partitions(one.database, one.name) for one in tables}
    return dictionary(datasets, tables, partitions)


def publish_dictionary(platform: Platform, datasets: Sequence[Dataset]) -> Mapping[str, str]:
    """Puts the pages into the lake; page to place."""
    store = platform.lake.store
    places = {}
    for name, html in dictionary_pages(platform, datasets).items():
        key = f"{SUBJECT}/{DICTIONARY}/{name}"
        store.put(key, html.encode())
        places[name] = store.uri(key)
    return places

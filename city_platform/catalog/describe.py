"""What the stewards' folders say of a table's columns."""

from collections.abc import Iterable, Mapping, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from city_platform.catalog.lineage import layer_lineage, trace
from city_platform.catalog.types import catalog_type
from city_platform.contracts.model import Classification, Contract
from city_platform.contracts.partitions import Granularity
from city_platform.datasets import Dataset
from city_platform.ports import CatalogColumn

# The layers that are tables, and the part of their manifests that holds the rows.
LAYERS = {"cleaned": "rows", "rejected": "rows", "curated": "parquet", "encrypted": "rows"}
_LAYER_WORDS = {
    "cleaned": "typed rows after the recipe, one a key, before any rule",
    "rejected": "the register of everything that was held back, with the reason and without the value",
    "curated": "the published summary, personal columns masked",
    "encrypted": "the rows that passed the rules; internal and personal columns are encrypted",
}
_PLATFORM = "the platform"
# The columns that the platform adds itself: description and source.
_OWN = {
    "_source": (
        "Which of the partition's sources the row is from, in the order of landing, from 0.",
        _PLATFORM,
    ),
    "_row": ("Which row of that source it is, from 0.", _PLATFORM),
    "stage": ("What the row or value was held back by: typing, the recipe, a newer row, a rule.", _PLATFORM),
    "column_or_rule": ("The column whose value could not be typed, or the rule the row failed.", _PLATFORM),
    "reason": ("Why, in plain words and without the value.", _PLATFORM),
}
_PARTITIONS = {
    Granularity.YEAR: "The calendar year the rows are of.",
    Granularity.DAY: "The calendar day the rows are of, as 2024-05-31.",
    Granularity.HOUR: "The hour in UTC the rows are of, as 2024-05-31-13.",
}


def partition_key(contract: Contract, columns: Iterable[str] = ()) -> CatalogColumn:
    """The column that the names of the folders make, beside the table's `columns`.

    It is called `year`, `day` or `hour`; where the table has such a column, `year_partition` and so on, because a query
    of a table that has a name twice fails in Athena.
    """
    granularity = contract.partitioning.granularity
    taken = granularity.value in {name.casefold() for name in columns}
    name = f"{granularity.value}_partition" if taken else granularity.value
    return CatalogColumn(name, "string", _PARTITIONS[granularity], _PLATFORM, Classification.PUBLIC.value)


def described_columns(dataset: Dataset, layer: str, schema: Sequence[tuple[str, str]]) -> tuple[CatalogColumn, ...]:
    """The columns of a published schema in the catalog's words; what nobody described has an empty description."""
    columns = {column.name: column for column in dataset.contract.columns} if layer != "curated" else {}
    published = Classification.PUBLIC if layer == "curated" else Classification.INTERNAL
    comments = summary_comments(dataset.curated_sql) if layer == "curated" else {}
    described = []
    for name, kind in schema:
        if name in columns:
            description, classification = columns[name].description, columns[name].classification
            source = source_of(dataset, layer, name)
        elif name in _OWN and layer != "curated":
            (description, source), classification = _OWN[name], published
        else:
            description, classification = comments.get(name, ""), published
            source = source_of(dataset, layer, name)
        described.append(CatalogColumn(name, catalog_type(kind), description, source, classification.value))
    return tuple(described)


def source_of(dataset: Dataset, layer: str, column: str) -> str:
    """The source's columns that a column is made of, or what else it is; empty where nobody knows."""
    lineage = layer_lineage(dataset, layer)
    known = {one.column: one for one in lineage.columns} if lineage else {}
    if column not in known:
        return ""
    traced = trace(dataset, layer, column)
    return f"{', '.join(traced)} in the source" if traced else known[column].how


def table_description(contract: Contract, layer: str) -> str:
    return f"{contract.title}: {_LAYER_WORDS[layer]}. {contract.purpose}"


def summary_comments(sql: str) -> Mapping[str, str]:
    """What the comments in `curated.sql` say of the columns it publishes, by the columns' names.

    A comment belongs to the column on whose line it stands, or before whose line.
    """
    query = sqlglot.parse_one(sql, dialect=DuckDB)
    selects = query.selects if isinstance(query, exp.Select) else []
    return {
        one.alias_or_name: _sentence([text for node in one.walk() for text in node.comments or []]) for one in selects
    }


def _sentence(comments: Sequence[str]) -> str:
    text = " ".join(" ".join(comments).split())
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", "?", "!")) else ".")

"""The data dictionary: what every column of every dataset means, on pages that need nothing but a browser."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from city_platform.contracts.model import Contract, Masking
from city_platform.datasets import Dataset
from city_platform.pages import page, table, tiles
from city_platform.ports import CatalogColumn, CatalogPartition, CatalogTable
from city_platform.quality.declared import DeclaredRule, declared_rules
from city_platform.quality.settings import Action

INDEX = "index.html"
FAILING = {
    Action.HALT: "nothing is published while it fails",
    Action.QUARANTINE: "rows that fail are held back",
    Action.WARN: "it is reported",
}
MASKED = {
    Masking.REDACT: "left empty outside",
    Masking.PSEUDONYM: "a pseudonym outside",
    Masking.POSTAL_AREA: "the postal area outside",
    Masking.COARSE_POINT: "about a kilometre outside",
}

Partitions = Mapping[str, Sequence[CatalogPartition]]  # by `database.table`


def dictionary(
    datasets: Sequence[Dataset], tables: Sequence[CatalogTable], partitions: Partitions
) -> Mapping[str, str]:
    """File name to page: one for each dataset, and an index over all columns. The same input gives the same bytes."""
    own = {dataset.name: [one for one in tables if one.name == dataset.name] for dataset in datasets}
    pages = {f"{dataset.name}.html": _dataset_page(dataset, own[dataset.name], partitions) for dataset in datasets}
    return {INDEX: _index(datasets, own), **pages}


def _index(datasets: Sequence[Dataset], own: Mapping[str, Sequence[CatalogTable]]) -> str:
    rows = [
        [
            f'<a href="{dataset.name}.html">{escape(dataset.contract.title)}</a>',
            escape(dataset.contract.purpose),
            escape(dataset.contract.domain),
            escape(dataset.contract.cadence),
            escape(", ".join(one.database for one in own[dataset.name]) or "nothing published yet"),
        ]
        for dataset in datasets
    ]
    words = [
        [
            escape(column.name),
            f'<a href="{dataset.name}.html#{column.name}">{escape(dataset.contract.title)}</a>',
            escape(column.sql_type.lower()),
            _tag(column.classification.value),
            escape(column.description),
        ]
        for dataset in datasets
        for column in dataset.contract.columns
    ]
    body = [
        "<p>What the city's datasets are, what their columns mean, and which rules they keep.</p>",
        tiles([("datasets", f"{len(datasets)}"), ("columns", f"{len(words)}")]),
        "<h2>Datasets</h2>",
        table(("dataset", "purpose", "domain", "changes", "tables"), rows),
        "<h2>All columns</h2>",
        table(("column", "dataset", "type", "class", "description"), sorted(words, key=lambda row: row[0].casefold())),
    ]
    return page("Data dictionary", body)


def _dataset_page(dataset: Dataset, tables: Sequence[CatalogTable], partitions: Partitions) -> str:
    contract = dataset.contract
    body = [
        f'<p class="soft"><a href="{INDEX}">Data dictionary</a></p>',
        f"<p>{escape(contract.purpose)}</p>",
        table(("about the dataset", ""), [[escape(name), text] for name, text in _facts(contract)]),
        "<h2>Columns</h2>",
        _contract_columns(contract),
        "<h2>Rules</h2>",
        _rules("They decide what is published.", declared_rules(dataset.rules), gates=True),
        *(
            _rules(f"Advisory ({name}): they hold nothing back.", declared_rules(ruleset), gates=False)
            for name, ruleset in dataset.advisory
        ),
        *(html for one in tables for html in _table(one, partitions.get(f"{one.database}.{one.name}", ()))),
    ]
    return page(f"{contract.title}: data dictionary", body)


def _facts(contract: Contract) -> Iterator[tuple[str, str]]:
    key = ", ".join(column.name for column in contract.key) or "none: rows have no key in the source"
    source = escape(contract.source_url)
    yield "source", f'<a href="{source}">{source}</a>'
    yield "licence", escape(contract.licence)
    yield "who answers for it", escape(contract.owner)
    yield "the source changes", escape(contract.cadence)
    yield "promised", f"never more than {contract.freshness.total_seconds() / 3600:,.0f} hours behind the source"
    yield "primary key", escape(key)
    yield "time zone", escape(contract.timezone)
    yield "contract", escape(f"{contract.id}, version {contract.version}")
    if contract.tags:
        yield "tags", escape(", ".join(contract.tags))


def _contract_columns(contract: Contract) -> str:
    rows = []
    for column in contract.columns:
        former = f" (formerly {', '.join(column.aliases)})" if column.aliases else ""
        masked = f", {MASKED[column.masking]}" if column.masking else ""
        rows.append(
            [
                f'<span id="{escape(column.name)}">{escape(column.name)}</span>',
                escape(column.sql_type.lower()) + ("" if column.nullable else ", never empty"),
                _tag(column.classification.value) + escape(masked),
                escape(column.description),
                escape(f"{column.source_name}{former}"),
            ]
        )
    return table(("column", "type", "class", "description", "in the source"), rows)


def _rules(title: str, rules: Sequence[DeclaredRule], *, gates: bool) -> str:
    rows = [
        [
            escape(rule.settings.rule_id),
            escape(rule.explanation),
            escape(FAILING[rule.settings.action if gates else Action.WARN]),
            f"<code>{escape(rule.text)}</code>",
        ]
        for rule in rules
    ]
    return f"<p>{escape(title)}</p>" + table(("rule", "in plain words", "if it fails", "as DQDL"), rows)


def _table(described: CatalogTable, partitions: Sequence[CatalogPartition]) -> Iterator[str]:
    yield f"<h2>Table {escape(described.database)}.{escape(described.name)}</h2>"
    changes = escape("; ".join(described.changes))
    place = f"<code>{escape(described.location)}</code>"
    yield f'<p class="soft">Schema version {described.version}: {changes}. {place}</p>'
    columns = [_column(column) for column in (*described.columns, *described.partition_keys)]
    yield table(("column", "type", "class", "description", "from"), columns)
    if partitions:
        rows = [[one.value, f"{int(one.parameters.get('rows', 0)):,}"] for one in partitions]
        listed = table((described.partition_keys[0].name, "rows"), rows, numeric=(1,))
        yield f"<details><summary>{len(rows)} partitions</summary>{listed}</details>"


def _column(column: CatalogColumn) -> list[str]:
    return [
        escape(column.name),
        escape(column.type),
        _tag(column.classification),
        escape(column.description),
        escape(column.source),
    ]


def _tag(classification: str) -> str:
    kind = "tag personal" if classification == "personal" else "tag"
    return f'<span class="{kind}">{escape(classification)}</span>'

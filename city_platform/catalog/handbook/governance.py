"""The page of governance measures: owners, classification, and every rule in a sentence with what it does."""

from collections import Counter
from collections.abc import Iterator, Sequence

from city_platform.catalog.dictionary import FAILING, MASKED
from city_platform.catalog.handbook.text import NOTICE, code, joined, plain
from city_platform.contracts.model import Classification, Contract
from city_platform.datasets import Dataset
from city_platform.markdown import table
from city_platform.quality.declared import DeclaredRule, declared_rules
from city_platform.quality.settings import Action

_INTRODUCTION = """\
Rules of the gate decide what is published: `halt` closes the gate for the whole partition, `quarantine` holds back the
rows that fail, `warn` reports. A closed gate is opened by a correction, or by a steward's waiver, which names one
version and ends by itself. Advisory rulesets are evaluated and shown; they hold nothing back. All are evaluated
whenever a partition is made, and every week. Personal columns are masked in everything published and encrypted under a
key of their own."""
_DAY_S = 86_400


def governance_page(datasets: Sequence[Dataset]) -> str:
    """An overview, then a section a dataset."""
    lines = ["# Governance measures", "", NOTICE, "", _INTRODUCTION, "", _overview(datasets)]
    for dataset in datasets:
        lines += ["", f"## {dataset.contract.title}", "", *_section(dataset)]
    return "\n".join(lines) + "\n"


def _overview(datasets: Sequence[Dataset]) -> str:
    actions = [Counter(one.settings.action for one in declared_rules(dataset.rules)) for dataset in datasets]
    classes = [Counter(column.classification for column in dataset.contract.columns) for dataset in datasets]
    counted = (*(f"{one} columns" for one in Classification), *map(str, Action), "advisory")
    return table(
        ("dataset", "owner", "stewards", *counted),
        [
            [
                dataset.contract.title,
                code(dataset.contract.owner),
                joined(code(one.account) for one in dataset.contract.members),
                *(classes[place][one] for one in Classification),
                *(actions[place][one] for one in Action),
                sum(len(ruleset.rules) for _, ruleset in dataset.advisory),
            ]
            for place, dataset in enumerate(datasets)
        ],
    )


def _section(dataset: Dataset) -> Iterator[str]:
    contract = dataset.contract
    old = contract.old_versions
    hours, days = contract.freshness.total_seconds() / 3600, old.age.total_seconds() / _DAY_S
    yield (
        f"Contract {contract.version}, {contract.licence}. Promised: never more than {hours:,.0f} hours behind the "
        f"source. The {old.versions} newest versions of a partition are kept, and older ones for {days:.0f} days."
    )
    if contract.rows_kept is not None:
        yield (
            f"Single rows go {contract.rows_kept.days} days after their {contract.partitioning.granularity}, once its "
            "sums are proven; the summary and the sums stay."
        )
    yield from ("", *_personal(contract), "", _rules(declared_rules(dataset.rules), contract, gates=True))
    for name, ruleset in dataset.advisory:
        yield from ("", f"Advisory, {code(f'{name}.dqdl')}:", "")
        yield _rules(declared_rules(ruleset), contract, gates=False)


def _personal(contract: Contract) -> Iterator[str]:
    by_masking: dict[str, list[str]] = {}
    for column in contract.columns:
        if column.masking is not None:
            by_masking.setdefault(MASKED[column.masking], []).append(code(column.name))
    if not by_masking:
        yield "No column is personal."
    yield from (f"- {joined(names)}: {how}" for how, names in by_masking.items())


def _rules(rules: Sequence[DeclaredRule], contract: Contract, *, gates: bool) -> str:
    head = ("rule", "what it demands", "if it fails", "owner")
    return table(
        head,
        [
            [
                code(one.settings.rule_id),
                plain(one.explanation),
                FAILING[one.settings.action] if gates else FAILING[Action.WARN],
                code(one.settings.owner or contract.owner),
            ]
            for one in rules
        ],
    )

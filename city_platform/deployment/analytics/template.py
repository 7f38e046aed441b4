"""The template of the analytics stack: a part written by hand, and below it what the datasets' folders need.

The generated part is everything after the line `MARKER`, inside `Resources`; the hand-written part stays as it is. A
dataset, a recipe's step or a rule that changes is a change of the template, which a test demands to be committed.
"""

from collections.abc import Sequence
from pathlib import Path

from city_platform.catalog.describe import LAYERS
from city_platform.datasets import Dataset
from city_platform.deployment.analytics.athena import (
    Query,
    dashboard_queries,
    encrypted_questions,
    named_query,
    questions,
)
from city_platform.deployment.analytics.databrew import databrew
from city_platform.deployment.analytics.quicksight import quicksight
from city_platform.deployment.analytics.rulesets import rulesets
from city_platform.deployment.analytics.tables import databases, table
from city_platform.deployment.cloudformation import Resource, as_yaml
from city_platform.errors import PermanentError

MARKER = "  # Generated from the datasets' folders; everything below is written by `city-platform datasets template`."
MOST_RESOURCES, MOST_BYTES = 500, 1_000_000  # of a template: CloudFormation's quotas


class NoPlaceToWrite(PermanentError):
    """The template has no line below which the generated part belongs."""


class TemplateTooLarge(PermanentError):
    """The datasets need more resources, or more words, than CloudFormation takes in one stack."""


def analytics_template(by_hand: str, datasets: Sequence[Dataset], dashboards: Path) -> str:
    """The whole text. `by_hand` is the template as it is, `dashboards` the folder of queries that dashboards show.

    Raises NoPlaceToWrite, TemplateTooLarge, InvalidDefinition.
    """
    head, marker, _ = by_hand.partition(f"{MARKER}\n")
    if not marker:
        raise NoPlaceToWrite(f"the template has no line {MARKER.strip()!r}: put it at the end of its Resources")
    asked = questions(datasets)
    shown = sorted([*asked, *dashboard_queries(dashboards, datasets)], key=lambda one: (one.dataset, one.name))
    made = resources(datasets, shown)
    text = head + marker + _left_out(datasets) + as_yaml(made)
    if len(made) > MOST_RESOURCES or len(text.encode()) > MOST_BYTES:
        raise TemplateTooLarge(
            f"{len(made)} resources in {len(text.encode()):,} bytes, where CloudFormation takes {MOST_RESOURCES} and "
            f"{MOST_BYTES:,}: give the datasets of one department a stack of their own"
        )
    return text


def resources(datasets: Sequence[Dataset], queries: Sequence[Query]) -> list[Resource]:
    """Everything that is made for the datasets, in the order in which a reader looks for it."""
    titles = {dataset.name: dataset.contract.title for dataset in datasets}
    return [
        *databases(),
        *(table(dataset, layer) for dataset in datasets for layer in LAYERS),
        *(one for dataset in datasets for one in rulesets(dataset)),
        *(one for dataset in datasets for one in databrew(dataset)),
        *map(named_query, queries),
        *quicksight(queries, titles),
    ]


def _left_out(datasets: Sequence[Dataset]) -> str:
    """Comments on the questions that Athena cannot answer."""
    return "".join(
        f"  # No query {dataset.name}/{name}: {', '.join(columns)} {'is' if len(columns) == 1 else 'are'} encrypted "
        "in the table.\n"
        for dataset in datasets
        for name, columns in encrypted_questions(dataset).items()
    )

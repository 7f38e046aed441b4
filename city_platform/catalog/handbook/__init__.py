"""Pages about the platform as it stands, in Markdown: how data flow, how they are processed, how they are governed.

`city-platform catalog pages` writes them. The same definitions give the same text, wherever and whenever.
"""

from collections.abc import Mapping, Sequence

from city_platform.catalog.handbook.flows import DataFlow, flows_page
from city_platform.catalog.handbook.governance import governance_page
from city_platform.catalog.handbook.processes import processes_page
from city_platform.datasets import Dataset


def handbook(datasets: Sequence[Dataset], flow: DataFlow) -> Mapping[str, str]:
    """File name to page."""
    return {
        "data-flows.md": flows_page(datasets, flow),
        "etl.md": processes_page(datasets),
        "governance.md": governance_page(datasets),
    }

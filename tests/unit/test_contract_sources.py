"""`servers` of type `api`: what is read from them, and every mistake at its line."""

from pathlib import Path

import pytest

from city_platform.contracts.load import load_contract
from city_platform.contracts.model import PortalSource

TREES = Path(__file__).parents[1] / "fixtures" / "datasets" / "trees" / "contract.yaml"
BASE = "https://opendata.example.org/api/explore/v2.1/catalog/datasets/"
SERVERS = f"""\
servers:
  - server: current
    type: api
    location: {BASE}trees
    description: Trees
      of today.
    customProperties:
      - {{property: cadence, value: daily}}
  - server: "1990-2010"
    type: api
    location: {BASE}issued-trees-1990-
    customProperties:
      - {{property: cadence, value: static}}
  - server: archive
    type: s3
    location: s3://somewhere/else
"""
SOURCE_LINK = "authoritativeDefinitions:\n  - type: source\n    url: https://example.org/trees/\n"


def with_servers(servers: str, base: str | None = None) -> str:
    text = TREES.read_text() if base is None else base
    return text.replace("domain: parks\n", f"domain: parks\n{servers}", 1)


def test_sources_are_the_portal_datasets_in_the_order_of_the_contract() -> None:
    contract, findings = load_contract(with_servers(SERVERS), "contract.yaml")
    assert findings == []
    assert contract is not None
    assert contract.sources == (
        PortalSource("current", f"{BASE}trees", "daily", "Trees of today."),
        PortalSource("1990-2010", f"{BASE}issued-trees-1990-", "static"),
    )
    assert contract.sources[1].portal_id == "issued-trees-1990-"
    assert contract.source_url == "https://example.org/trees/"


def test_without_a_link_the_first_source_says_where_the_data_comes_from() -> None:
    text = TREES.read_text().replace(SOURCE_LINK, "")
    contract, findings = load_contract(with_servers(SERVERS, text), "contract.yaml")
    assert findings == []
    assert contract is not None
    assert contract.source_url == f"{BASE}trees"


@pytest.mark.parametrize(
    ("old", "new", "on_line", "remedy"),
    [
        (f"{BASE}trees", "https://example.org/trees", "location:", "https://HOST/api/explore/v2.1/catalog/datasets/ID"),
        (f"{BASE}trees", f"{BASE}trees/records", "trees/records", "without anything behind the ID"),
        (f"{BASE}trees", f"https://user:word@{BASE[8:]}trees", "location:", "https://HOST"),
        (f"location: {BASE}trees\n", "\n", "server: current", "add 'location:'"),
        ("{property: cadence, value: daily}", "{property: cadnce, value: daily}", "server: current", "add the custom"),
        ("value: daily", "value: dayly", "dayly", "write 'daily'"),
        ("value: daily", "value: [daily]", "[daily]", "write 'daily'"),
        ('"1990-2010"', "current", "server: current", "keep one of the two"),
        (f"{BASE}issued-trees-1990-", f"{BASE}trees", "location:", "keep one of the two"),
        ("property: cadence", "property: masking", "masking", "move it to a property of the schema"),
    ],
)
def test_mistakes_say_where_and_what_to_write(old: str, new: str, on_line: str, remedy: str) -> None:
    assert old in SERVERS
    text = with_servers(SERVERS.replace(old, new, 1))
    contract, findings = load_contract(text, "contract.yaml")
    assert contract is None
    lines = text.splitlines()
    assert [one for one in findings if on_line in lines[one.line - 1] and remedy in one.remedy], findings

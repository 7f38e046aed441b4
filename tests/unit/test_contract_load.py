"""`load_contract`: every kind of mistake, where it is and what to write instead."""

import importlib.resources
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.load import about_rows, load_contract, read_contract
from city_platform.contracts.model import (
    Classification,
    Contract,
    Masking,
    OldVersions,
    Partitioning,
    PartitionTransform,
)

DATASETS = Path(__file__).parents[2] / "datasets"

VALID = """\
apiVersion: v3.2.0
kind: DataContract
id: urn:city:dataset:street_trees
name: street_trees
version: 1.0.0
domain: parks
tags: [parks]
description:
  purpose: Every tree on a street.
authoritativeDefinitions:
  - {type: source, url: "https://example.org/trees"}
team:
  name: open-data
slaProperties:
  - {property: frequency, value: 1, unit: w}
  - {property: latency, value: 10, unit: d}
customProperties:
  - {property: licence, value: Open Licence}
  - {property: timezone, value: America/Vancouver}
  - {property: latestBy, value: Changed}
  - {property: portal, value: trees}
schema:
  - name: street_trees
    businessName: Street trees
    properties:
      - name: TreeId
        physicalName: TREE_ID
        logicalType: integer
        physicalType: BIGINT
        classification: internal
        description: The tree's number.
        required: true
        primaryKey: true
        primaryKeyPosition: 1
        synonyms: [{synonym: TreeNumber}]
      - name: Caretaker
        physicalName: CARETAKER
        logicalType: string
        physicalType: varchar
        classification: personal
        description: Who looks after it.
        customProperties:
          - {property: masking, value: pseudonym}
          - {property: sourceRequired, value: false}
      - name: Height
        physicalName: HEIGHT_M
        logicalType: number
        physicalType: decimal(6, 2)
        classification: public
        description: Metres.
      - name: Planted
        physicalName: DATE_PLANTED
        logicalType: date
        physicalType: DATE
        classification: public
        description: The day it was planted.
        partitioned: true
        customProperties:
          - {property: partitionTransform, value: year-of-date}
          - {property: dateFormats, value: ["%d/%m/%Y"]}
          - {property: firstYear, value: 1950}
          - {property: lastYear, value: 2050}
      - name: Changed
        physicalName: CHANGED
        logicalType: timestamp
        physicalType: timestamp with time zone
        classification: public
        description: When the row was last written.
"""
LINES = VALID.splitlines()
OBJECT = "    businessName: Street trees\n"
OWN = "    customProperties:\n      - {{property: {}, value: {}}}\n"


def valid() -> Contract:
    contract, findings = load_contract(VALID, "contract.yaml")
    assert findings == []
    assert contract is not None
    return contract


def test_a_valid_contract() -> None:
    contract = valid()
    assert contract.name == "street_trees"
    assert contract.title == "Street trees"
    assert contract.owner == "team:open-data"
    assert contract.cadence == "weekly"
    assert contract.freshness == timedelta(days=10)
    assert contract.source_url == "https://example.org/trees"
    assert contract.latest_by == "Changed"
    assert contract.extra == {"portal": "trees"}
    assert [column.name for column in contract.key] == ["TreeId"]
    tree, caretaker, height, _, changed = contract.columns
    assert (tree.aliases, tree.nullable, tree.required_in_source, tree.line) == (("TreeNumber",), False, True, 26)
    assert (caretaker.masking, caretaker.required_in_source) == (Masking.PSEUDONYM, False)
    assert (height.sql_type, changed.sql_type) == ("DECIMAL(6,2)", "TIMESTAMP WITH TIME ZONE")
    partitioning = contract.partitioning
    assert (partitioning.source_name, partitioning.transform) == ("DATE_PLANTED", PartitionTransform.YEAR)
    assert (partitioning.date_formats, partitioning.first_year, partitioning.last_year) == (("%d/%m/%Y",), 1950, 2050)


def mutated(old: str, new: str) -> str:
    assert VALID.count(old) >= 1, old
    return VALID.replace(old, new, 1)


# What is replaced, by what, a text that stands on the line of the finding (the one it must be in), the remedy.
STANDARD_MISTAKES = [
    ("kind: DataContract", "kind: Data", "kind: Data", "write one of: DataContract"),
    ("v3.2.0", "v3.9.0", "apiVersion:", "allowed: v3.2.0"),
    ("domain: parks", "domian: parks", "domian:", "write 'domain'"),
    ("id: urn:city:dataset:street_trees\n", "", "apiVersion:", "add 'id:'"),
    ("version: 1.0.0", "version: 2", "version: 2", "write a text, in quotes"),
    ("tags: [parks]", "tags: parks", "tags:", "write a list"),
    ("required: true", "required: yes", "required:", "write true or false"),
    ("primaryKeyPosition: 1", "primaryKeyPosition: first", "primaryKeyPosition:", "write a whole number"),
    ("logicalType: number", "logicalType: numbr", "logicalType: numbr", "write 'number'; allowed:"),
    ("physicalName: HEIGHT_M", "physicalNam: HEIGHT_M", "physicalNam:", "write 'physicalName'"),
    ("{synonym: TreeNumber}", "{synonim: TreeNumber}", "synonim", "write 'synonym'"),
    ("team:\n  name: open-data", "team: open-data", "team:", "write a mapping of keys to values or a list"),
    ("team:\n  name:", "team:\n  nam:", "nam:", "write 'name'"),
    ("      - name: Height\n        physicalName", "      - physicalName", "physicalName: HEIGHT_M", "add 'name:'"),
    ("{property: latency, value: 10,", "{property: latency,", "latency", "add 'value:'"),
    ("description: Metres.", "map: {}\n        description: Metres.", "map: {}", "remove it"),
]
PLATFORM_MISTAKES = [
    ("name: street_trees\nversion", "version", "apiVersion:", "add 'name:' with the folder's name"),
    ("name: street_trees\nversion", "name: Street-Trees\nversion", "name: Street-Trees", "write small letters"),
    ("- name: street_trees", "- name: trees", "- name: trees", "write 'street_trees'"),
    ("Street trees", "''", "businessName:", "write the dataset's title"),
    ("domain: parks\n", "", "apiVersion:", "add 'domain:'"),
    ("domain: parks", "domain: ' '", "domain:", "add 'domain:'"),
    ("description:\n  purpose: Every tree on a street.\n", "", "apiVersion:", "add 'description:' with 'purpose:'"),
    ("purpose: Every", "usage: Every", "usage:", "add 'purpose:'"),
    ("type: source", "type: archive", "{type: archive", "add an entry of type 'source'"),
    ("https://example", "ftp://example", "ftp:", "with https:// in front"),
    ("team:\n  name: open-data\n", "", "apiVersion:", "add 'team:'"),
    ("team:\n  name: open-data", "team: [{username: x}]", "team:", "write 'team:' with 'name:' below it"),
    ("name: open-data", "name: open data", "open data", "as open-data"),
    ("property: frequency", "property: frequenzy", "{property: frequenzy", "add it: write 1 d"),
    ("value: 1, unit: w", "value: 2, unit: d", "unit: d", "write 1 d, 1 w"),
    ("value: 10, unit: d", "value: 10", "latency", "the unit h, d or w"),
    ("value: 10, unit: d", "value: -1, unit: d", "latency", "a number above 0"),
    ("value: 10, unit: d", "value: true, unit: d", "latency", "a number above 0"),
    ("{property: latency,", "{property: frequency,", "value: 1,", "add it: write a number"),
    ("{property: licence,", "{property: license,", "license,", "write 'licence'"),
    ("value: Open Licence", "value: ''", "licence", "write the licence's name"),
    ("America/Vancouver", "America/Vancover", "Vancover", "write 'America/Vancouver'"),
    ("America/Vancouver", "America", "timezone", "write 'America/"),
    ("America/Vancouver", "../etc", "timezone", "IANA"),
    ("property: portal", "property: licence", "value: trees", "keep one of the two"),
    ("property: portal", "property: masking", "value: trees", "move it to a property of the schema"),
    (
        "property: portal, value: trees",
        "property: keepVersions, value: 0",
        "value: 0",
        "a whole number from 1 to 1,000",
    ),
    ("property: portal, value: trees", "property: keepVersions, value: true", "keepVersions", "a whole number"),
    ("property: portal, value: trees", "property: keepDays, value: 30d", "30d", "a whole number from 1 to 3,660"),
    ("property: portal, value: trees", "property: keepRowsDays, value: 13", "13", "a whole number from 14 to 3,660"),
    (
        "property: portal, value: trees",
        "property: keepRowsDays, value: 35",
        "keepRowsDays",
        "leave it out: only hourly rows",
    ),
    ("property: portal", "property: keepVersion", "keepVersion", "write 'keepVersions'"),
    ("value: Changed", "value: Chnged", "Chnged", "write 'Changed'"),
    ("value: Changed", "value: Caretaker", "latestBy", "name a column of logical type date"),
    ("primaryKey: true\n        primaryKeyPosition: 1\n", "\n", "latestBy", "add 'primaryKey: true'"),
    ("primaryKey: true\n", "\n", "primaryKeyPosition:", "add 'primaryKey: true'"),
    ("primaryKeyPosition: 1", "primaryKeyPosition: 2", "primaryKeyPosition:", "from 1 to 1"),
    ("description: Metres.", "description: m\n        primaryKey: true", "name: Height", "number from 1 to 2"),
    (
        "description: Metres.",
        "description: m\n        primaryKey: true\n        primaryKeyPosition: 01",
        "primaryKeyPosition: 01",
        "write a whole number",
    ),
    ("name: Height", "name: 1Height", "1Height", "start with a letter"),
    ("name: Height", "name: _row", "_row", "start with a letter"),
    ("name: Height", "name: treeid", "treeid", "another name"),
    ("physicalName: HEIGHT_M\n", "\n", "name: Height", "add 'physicalName:'"),
    ("HEIGHT_M", "tree_id", "tree_id", "keep it at one column"),
    ("HEIGHT_M", "TREENUMBER", "TREENUMBER", "keep it at one column"),
    ("logicalType: number\n", "\n", "name: Height", "add 'logicalType:'"),
    ("logicalType: number", "logicalType: time", "logicalType: time", "write one of: string, integer"),
    ("physicalType: decimal(6, 2)\n", "\n", "name: Height", "add 'physicalType:' with one of: DECIMAL(12,2)"),
    ("decimal(6, 2)", "decimal(60, 2)", "decimal(60", "1 to 38 digits"),
    ("decimal(6, 2)", "INTEGER", "physicalType: INTEGER", "write one of: DECIMAL(12,2), DOUBLE"),
    ("decimal(6, 2)", "money", "money", "write one of: DECIMAL(12,2), DOUBLE"),
    ("BIGINT", "decimal(6,0)", "decimal(6,0)", "write one of: INTEGER, BIGINT"),
    ("classification: public\n        description: Metres.", "description: Metres.", "name: Height", "one of: public"),
    ("classification: internal", "classification: secret", "secret", "write one of: public, internal, personal"),
    ("classification: internal", "classification: Internal", "Internal", "write 'internal'"),
    ("description: Metres.\n", "\n", "name: Height", "say what the column means"),
    ("- {property: masking, value: pseudonym}\n", "\n", "name: Caretaker", "add the custom property 'masking'"),
    ("{property: masking, value: pseudonym}", "{property: masking, value: hash}", "hash", "write one of: redact"),
    ("value: pseudonym", "value: pseudonim", "pseudonim", "write 'pseudonym'"),
    ("property: masking", "property: maskng", "maskng", "write 'masking'"),
    ("classification: personal", "classification: public", "pseudonym", "remove 'masking'"),
    ("sourceRequired, value: false", "sourceRequired, value: maybe", "maybe", "write true or false"),
    (
        "value: false}",
        "value: false}\n          - {property: licence, value: x}",
        "value: x",
        "move it to the contract",
    ),
    ("partitioned: true\n", "\n", "year-of-date", "add 'partitioned: true', or remove it"),
    ("partitioned: true\n", "\n", "- name: TreeId", "add 'partitioned: true' to the column"),
    ("description: Metres.", "description: m\n        partitioned: true", "partitioned:", "keep one: a partition"),
    ("partitioned: true", "partitioned: true\n        partitionKeyPosition: 2", "partitionKeyPosition", "write 1"),
    ("- {property: partitionTransform, value: year-of-date}\n", "\n", "name: Planted", "partitionTransform"),
    ("year-of-date", "year-of-dates", "year-of-dates", "write 'year-of-date'"),
    ("year-of-date", "four-digit-year", "dateFormats", "remove them, or write 'year-of-date'"),
    ('["%d/%m/%Y"]', '"%d/%m/%Y"', "dateFormats", "write a list"),
    ('["%d/%m/%Y"]', '["%d/%m/%Y", "%m/%Y"]', "%m/%Y", "strptime's words"),
    ('["%d/%m/%Y"]', "[7]", "dateFormats", "strptime's words"),
    ("firstYear, value: 1950", "firstYear, value: 50000", "firstYear", "a year of four digits"),
    ("firstYear, value: 1950", "firstYear, value: 2051", "firstYear", "let firstYear be no later"),
    ("        primaryKey: true\n        primaryKeyPosition: 1\n", "", "name: TreeId", "'noPrimaryKey': the reason"),
    (OBJECT, OBJECT + OWN.format("noPrimaryKey", "because"), "noPrimaryKey", "remove one of the two"),
    (OBJECT, OBJECT + OWN.format("partitionTransform", "snapshot-year"), "snapshot-year", "keep one of the two"),
    (OBJECT, OBJECT + OWN.format("partitionTransform", "year-of-date"), "year-of-date", "write 'snapshot-year'"),
    ("value: year-of-date", "value: snapshot-year", "snapshot-year", "write one of: four-digit-year"),
]


@pytest.mark.parametrize(("old", "new", "on_line", "remedy"), STANDARD_MISTAKES + PLATFORM_MISTAKES)
def test_a_mistake_is_shown_where_it_is(old: str, new: str, on_line: str, remedy: str) -> None:
    text = mutated(old, new)
    contract, findings = load_contract(text, "datasets/street_trees/contract.yaml")
    assert contract is None
    fitting = [one for one in findings if remedy in one.remedy]
    assert fitting, [str(one) for one in findings]
    lines = text.splitlines()
    assert any(on_line in lines[one.line - 1] for one in fitting), [str(one) for one in findings]
    assert all(one.file == "datasets/street_trees/contract.yaml" and one.column >= 1 for one in findings)


@pytest.mark.parametrize(("old", "new", "on_line", "remedy"), STANDARD_MISTAKES)
def test_a_mistake_against_the_standard_does_not_cascade(old: str, new: str, on_line: str, remedy: str) -> None:
    # One mistake may leave a column or service level incomplete, which is said too; never more than that.
    _, findings = load_contract(mutated(old, new), "f")
    assert len(findings) <= 2, (on_line, remedy, [str(one) for one in findings])


def test_two_schema_objects() -> None:
    _, (finding,) = load_contract(VALID + "  - name: other\n", "f")
    assert finding.line == len(LINES) + 1
    assert "a folder of its own" in finding.remedy


@pytest.mark.parametrize("schema", ["", "schema: []\n", "schema:\n  - {name: street_trees}\n"])
def test_no_columns(schema: str) -> None:
    _, findings = load_contract(VALID[: VALID.index("schema:")] + schema, "f")
    assert any("add 'schema:'" in one.remedy or "add 'properties:'" in one.remedy for one in findings)


@pytest.mark.parametrize("text", ["[]", "just text", "1", "~"])
def test_not_a_mapping(text: str) -> None:
    contract, findings = load_contract(text, "f")
    assert contract is None
    assert any("write a mapping" in one.remedy for one in findings)


def test_many_mistakes_are_all_reported() -> None:
    text = VALID
    independent = [
        ("kind: DataContract", "kind: Data"),
        ("domain: parks", "domian: parks"),
        ("unit: w", "unit: fortnight"),
        ("America/Vancouver", "America/Vancover"),
        ("BIGINT", "VARCHAR"),
        ("value: pseudonym", "value: hash"),
        ("description: Metres.", "description: ''"),
        ("value: year-of-date", "value: yearly"),
    ]
    for old, new in independent:
        text = text.replace(old, new, 1)
    _, findings = load_contract(text, "f")
    lines = text.splitlines()
    reported = {lines[one.line - 1] for one in findings}
    for _, new in independent:
        assert any(new in line for line in reported), new
    assert findings == sorted(findings)


def test_a_contract_with_mistakes_still_serves_to_check_the_other_files() -> None:
    contract, findings = read_contract(mutated("value: pseudonym", "value: hash"), "f")
    assert findings
    assert contract is not None
    assert [column.name for column in contract.columns] == ["TreeId", "Caretaker", "Height", "Planted", "Changed"]
    unreadable, _ = read_contract(mutated("BIGINT", "BIGINTEGER"), "f")
    assert unreadable is None


@pytest.mark.parametrize(
    ("value", "cadence"),
    [
        ("1, unit: h", "hourly"),
        ("1, unit: d", "daily"),
        ("24, unit: h", "daily"),
        ("7, unit: d", "weekly"),
        ("1, unit: month", "monthly"),
        ("3, unit: mo", "quarterly"),
        ("1, unit: quarter", "quarterly"),
        ("1, unit: yr", "annual"),
        ("static", "static"),
    ],
)
def test_cadences(value: str, cadence: str) -> None:
    contract, findings = load_contract(mutated("value: 1, unit: w", f"value: {value}"), "f")
    assert findings == []
    assert contract is not None
    assert contract.cadence == cadence


_NODES = [number for number, line in enumerate(LINES) if line.strip()]
_REPLACEMENTS = st.sampled_from(
    ["", "~", "true", "7", "-1.5", "[]", "{}", "[[1]]", "{a: {b: 1}}", "x y", "'é'", "2024"]
)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(_NODES), st.sampled_from(["drop", "rename", "retype", "indent"]), _REPLACEMENTS),
        min_size=1,
        max_size=3,
    )
)
def test_any_mutation_loads_or_is_reported_inside_the_file(changes: list[tuple[int, str, str]]) -> None:
    lines = list(LINES)
    for number, change, value in changes:
        key, colon, _ = lines[number].partition(":")
        if change == "drop":
            lines[number] = ""
        elif change == "rename":
            lines[number] = lines[number].replace(key.strip(" -"), key.strip(" -")[::-1] or "x", 1)
        elif change == "retype":
            lines[number] = f"{key}{colon} {value}"
        else:
            lines[number] = "  " + lines[number]
    contract, findings = load_contract("\n".join(lines), "f")
    assert (contract is None) == bool(findings)
    assert all(1 <= one.line <= len(lines) and one.problem and one.remedy for one in findings)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in items for found in _paths(one, (*path, key)))]


_TREE_PATHS = [path for path in _paths(yaml.safe_load(VALID)) if path]


@settings(max_examples=80)
@given(
    st.sampled_from(_TREE_PATHS),
    st.sampled_from([None, True, 0, 10**30, -2.5, "", "x", "year-of-date", [], [None], {}, {"name": 1}, "drop"]),
)
def test_any_retyped_node_loads_or_is_reported(path: tuple[str | int, ...], value: object) -> None:
    tree = yaml.safe_load(VALID)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    if value == "drop":
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    text = yaml.safe_dump(tree, sort_keys=False)
    contract, findings = load_contract(text, "f")
    assert (contract is None) == bool(findings)
    assert all(1 <= one.line <= len(text.splitlines()) and one.remedy for one in findings)


@pytest.mark.parametrize("name", ["business_licences", "parking_tickets"])
def test_the_city_s_contracts(name: str) -> None:
    text = (DATASETS / name / "contract.yaml").read_text("utf-8")
    contract, findings = load_contract(text, name)
    assert findings == []
    assert contract is not None
    assert contract.name == name
    for column in contract.columns:
        assert len(column.description) > 20
        assert column.description.endswith(".")
        assert column.personal == (column.masking is not None)
    standard = importlib.resources.files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8")
    assert f"apiVersion: {json.loads(standard)['properties']['apiVersion']['enum'][0]}\n" in text


def test_licences_promise_what_the_platform_relies_on() -> None:
    contract, _ = load_contract((DATASETS / "business_licences" / "contract.yaml").read_text("utf-8"), "f")
    assert contract is not None
    assert [column.name for column in contract.key] == ["LicenceRSN", "LicenceRevisionNumber"]
    assert contract.latest_by == "ExtractDate"
    partitioning = contract.partitioning
    assert (partitioning.source_name, partitioning.transform) == ("FOLDERYEAR", PartitionTransform.TWO_DIGITS)
    personal = {column.name for column in contract.columns if column.classification is Classification.PERSONAL}
    assert personal == {
        *("BusinessName", "BusinessTradeName", "Unit", "House", "Street", "PostalCode", "Geom", "GeoPoint2d")
    }
    assert {column.name for column in contract.columns if not column.required_in_source} == {"Geom", "GeoPoint2d"}
    assert contract.cadence == "daily"


def test_tickets_promise_what_the_platform_relies_on() -> None:
    contract, _ = load_contract((DATASETS / "parking_tickets" / "contract.yaml").read_text("utf-8"), "f")
    assert contract is not None
    assert [column.name for column in contract.key] == ["BI_ID"]
    assert contract.latest_by is None
    assert contract.partitioning.date_formats == ("%m/%d/%Y",)
    headers = {header.casefold() for column in contract.columns for header in (column.source_name, *column.aliases)}
    assert {"hundred_block", "street", "date", "bylaw", "section", "status", "description"} < headers
    assert {column.name for column in contract.columns if not column.required_in_source} == {"Year", "BI_ID"}
    assert contract.cadence == "quarterly"


def test_a_contract_says_how_long_old_versions_are_kept() -> None:
    def kept(*lines: str) -> OldVersions:
        text = VALID.replace("customProperties:\n", "customProperties:\n" + "".join(lines), 1)
        contract, findings = load_contract(text, "f")
        assert contract is not None, [str(one) for one in findings]
        return contract.old_versions

    assert kept() == OldVersions(3, timedelta(days=30))
    assert kept("  - {property: keepVersions, value: 5}\n") == OldVersions(5, timedelta(days=30))
    assert kept("  - property: keepDays\n    value: 1\n") == OldVersions(3, timedelta(days=1))


@given(
    st.permutations(["keepVersions", "keepDays", "keepRowsDays", "portal", "latestBy"]),
    st.booleans(),
    st.integers(1, 900),
)
def test_how_long_old_versions_are_kept_makes_nothing_again(order: list[str], flow: bool, number: int) -> None:
    def written(names: list[str]) -> str:
        form = (
            "  - {{property: {}, value: {}}}\n"
            if flow
            else "  - property: {}\n    value: {}\n    description: 'a - b'\n"
        )
        lines = "".join(form.format(name, number) for name in names)
        return f"customProperties:\n{lines}schema:\n  - name: keepDays\n"

    kept = [name for name in order if not name.startswith("keep")]
    assert about_rows(written(order)) == about_rows(written(kept)) == written(kept)


def test_a_list_of_what_stands_today_has_no_year_column_and_may_have_no_key() -> None:
    own = OWN.format("partitionTransform", "snapshot-year") + "      - {property: noPrimaryKey, value: nothing tells}\n"
    own += "      - {property: firstYear, value: 2019}\n"
    planted = VALID[VALID.index("        partitioned: true") : VALID.index("      - name: Changed")]
    text = VALID.replace(planted, "").replace(OBJECT, OBJECT + own)
    for line in (
        "        primaryKey: true\n        primaryKeyPosition: 1\n",
        "  - {property: latestBy, value: Changed}\n",
    ):
        text = text.replace(line, "")
    contract, findings = load_contract(text, "f")
    assert contract is not None, [str(one) for one in findings]
    assert contract.key == ()
    assert contract.partitioning == Partitioning(None, PartitionTransform.SNAPSHOT, first_year=2019)

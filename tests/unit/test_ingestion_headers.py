"""Headers against a contract."""

from datetime import timedelta

import pytest

from city_platform.contracts.model import Classification, Column, Contract, Partitioning, PartitionTransform
from city_platform.ingestion.headers import BreakingDrift, Drift, match_headers, named_headers


def _column(source_name: str, *aliases: str, required: bool = True) -> Column:
    return Column(
        name=source_name, source_name=source_name, aliases=aliases, logical_type="string", sql_type="VARCHAR",
        classification=Classification.PUBLIC, description="", required_in_source=required, nullable=True,
        key_position=None, masking=None, line=1,
    )  # fmt: skip


def _contract(*columns: Column) -> Contract:
    return Contract(
        id="c", name="parks", title="", purpose="", version="1", owner="team:parks", domain="", licence="",
        source_url="", cadence="daily", freshness=timedelta(days=1), columns=columns,
        partitioning=Partitioning("Year", PartitionTransform.FOUR_DIGITS), latest_by=None,
    )  # fmt: skip


CONTRACT = _contract(
    _column("Year", "FOLDERYEAR"),
    _column("Name"),
    _column("Local Area", "GeoLocalArea"),
    _column("Trees", required=False),
)


def _kinds(*headers: str) -> set[tuple[str, str, bool]]:
    return {(one.kind, one.column, one.breaking) for one in match_headers(headers, CONTRACT).drift}


def test_same_headers_do_not_drift() -> None:
    match = match_headers(["Year", "Name", "Local Area", "Trees"], CONTRACT)
    assert match.drift == ()
    assert match.present == {"Year": "Year", "Name": "Name", "Local Area": "Local Area", "Trees": "Trees"}


def test_case_spaces_and_byte_order_mark_do_not_count() -> None:
    match = match_headers(["\ufeffYEAR", " name ", "localarea", "tre\u00a0es"], CONTRACT)
    assert match.drift == ()
    assert match.present == {"Year": "YEAR", "Name": " name ", "Local Area": "localarea", "Trees": "tre\u00a0es"}


@pytest.mark.parametrize(
    ("headers", "drift"),
    [
        (("Year", "Name", "Local Area", "Trees", "Extra"), {("new-column", "Extra", False)}),
        (("Year", "Name", "Local Area"), {("missing-column", "Trees", False)}),
        (("Year", "Local Area", "Trees"), {("missing-column", "Name", True)}),
        (("folderyear", "Name", "Local Area", "Trees"), {("renamed-column", "folderyear", False)}),
        (("Year", "Name", "NAME", "Local Area", "Trees"), {("duplicate-column", "Name", True)}),
        (("Year", "Name", "Local Area", "Trees", "x", "X "), {("duplicate-column", "x", True)}),
        (("Year", "FolderYear", "Name", "Local Area", "Trees"), {("duplicate-column", "FolderYear", True)}),
        (("Year", "Name", "Local Area", "Trees", "_row"), {("duplicate-column", "_row", True)}),
        (("Year", "Name", "Local Area", "Trees", ""), {("new-column", "column_5", False)}),
    ],
)
def test_each_kind_of_drift(headers: tuple[str, ...], drift: set[tuple[str, str, bool]]) -> None:
    assert _kinds(*headers) == drift


def test_another_datasets_file_says_so_first() -> None:
    match = match_headers(["Name", "Breed", "Color"], CONTRACT)
    assert match.breaking
    first = match.drift[0]
    assert (first.kind, first.breaking) == ("foreign-file", True)
    assert "only 1 of the 3 required columns" in first.message
    assert "another dataset's file" in first.message


def test_the_partition_column_is_required_whatever_the_contract_says() -> None:
    contract = _contract(_column("Year", required=False), _column("Name"))
    assert Drift("missing-column", "Year", True, "no header Year") in match_headers(["Name"], contract).drift


def test_a_source_name_is_no_other_columns_alias() -> None:
    contract = _contract(_column("Year"), _column("Date", "Name"), _column("Name"))
    match = match_headers(["Year", "Date", "Name"], contract)
    assert match.present == {"Year": "Year", "Date": "Date", "Name": "Name"}
    assert match.drift == ()


def test_breaking_drift_names_every_breaking_finding_and_keeps_all() -> None:
    drift = match_headers(["Year", "Local Area", "Local Area", "Extra"], CONTRACT).drift
    error = BreakingDrift("a.csv", "parks", drift)
    assert error.drift == drift
    assert "a.csv" in str(error)
    assert "missing-column: no header Name" in str(error)
    assert "duplicate-column: Local Area stands 2 times" in str(error)
    assert "Extra" not in str(error)


def test_empty_headers_are_named_by_position() -> None:
    assert named_headers(["\ufeffa", "", " ", "b"]) == ("a", "column_2", "column_3", "b")

"""Drafts: whatever a file's headers and words are, the folder can be read, and nobody's data are proposed as public."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.columns import COLUMN_NAME
from city_platform.contracts.decisions import OPEN
from city_platform.contracts.load import CONTRACT_NAME
from city_platform.contracts.model import Classification, Masking, PartitionTransform
from city_platform.datasets import load_dataset
from city_platform.drafting.facts import DAY_FIRST, EITHER, MONTH_FIRST, ColumnFacts, Facts
from city_platform.drafting.folder import folder_files
from city_platform.drafting.guess import cleaned_names, dataset_name, guess, looks_personal
from city_platform.profiling.model import ColumnProfile, Entity, Lengths

ROWS = 1_000
HEADERS = st.text(min_size=1, max_size=30).filter(lambda one: bool(one.strip()))


def profile(name: str, sql_type: str = "VARCHAR", distinct: int = 5, **other: object) -> ColumnProfile:
    lengths = Lengths(1, 8, 4.0) if sql_type == "VARCHAR" else None
    made = ColumnProfile(
        name=name,
        type=sql_type,
        inferred=True,
        classification=None,
        withheld=False,
        missing=0,
        invalid=0,
        valid=ROWS,
        distinct=distinct,
        unique=0,
        entropy=1.0,
        entities=(),
        lengths=lengths,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def facts(*columns: ColumnFacts, keys: tuple[tuple[str, ...], ...] = ()) -> Facts:
    return Facts("file.csv", ROWS, 0, columns, keys, ())


def proposed(column: ColumnFacts) -> Classification:
    return guess("town", facts(column), 2026).columns[0].classification


@given(st.lists(HEADERS, min_size=1, max_size=12))
def test_every_header_gets_a_name_of_its_own(headers: list[str]) -> None:
    names = cleaned_names(headers)
    assert all(COLUMN_NAME.fullmatch(one) for one in names)
    assert len({one.casefold() for one in names}) == len(headers)


@given(st.text(max_size=40))
def test_every_file_s_name_makes_a_dataset_s(stem: str) -> None:
    assert CONTRACT_NAME.fullmatch(dataset_name(stem))


def test_names_stay_recognisable() -> None:
    assert cleaned_names(["Geo Local Area", "geo_point_2d", "2nd fee", "Fee Paid", "FeePaid", "Bâtiment n°"]) == [
        "GeoLocalArea",
        "geo_point_2d",
        "Column2ndFee",
        "FeePaid",
        "FeePaid_2",
        "BatimentN",
    ]
    assert dataset_name("Street-Trees_2024-05") == "street_trees"
    assert dataset_name("311") == "dataset_311"


@settings(max_examples=20, deadline=None)
@given(
    headers=st.lists(HEADERS, min_size=1, max_size=6, unique_by=lambda one: "".join(one.split()).casefold()),
    values=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5, unique=True),
    slashed=st.sampled_from([None, MONTH_FIRST, DAY_FIRST, EITHER]),
    kind=st.sampled_from(["VARCHAR", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP WITH TIME ZONE", "BOOLEAN"]),
    keyed=st.booleans(),
)
def test_whatever_stands_in_the_file_the_folder_can_be_read(
    headers: list[str], values: list[str], slashed: str | None, kind: str, keyed: bool
) -> None:
    first, *others = headers
    columns = [ColumnFacts(profile(first), tuple(values), ((2024, ROWS),) if slashed else (), slashed, 0, 0, True)]
    columns += [ColumnFacts(profile(one, kind), years=((2023, 10), (2024, ROWS - 10))) for one in others]
    draft = guess("town", facts(*columns, keys=((first,),) if keyed else ()), 2026)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "town"
        folder.mkdir()
        for name, text in folder_files(draft, "America/Vancouver").items():
            (folder / name).write_text(text, "utf-8", newline="\n")
        dataset, findings = load_dataset(folder)
    assert [one for one in findings if one.code != OPEN] == []
    assert dataset is not None
    assert dataset.contract.draft
    assert [one.source_name.strip() for one in dataset.contract.columns] == [one.strip() for one in headers]
    # A question for each column's meaning and one for its guesses, none more and none lost in quoting.
    assert sum(one.problem.startswith("column ") for one in findings) == 2 * len(headers)


@pytest.mark.parametrize(
    "header",
    [
        *("Owner Name", "email", "EnteredBy", "HouseNumber", "geo_point_2d", "X", "date_of_birth", "Sex", "Lat", "AGE"),
        *("ACO", "Téléphone phone", "contactPerson", "ANNUAL_SALARY", "Licence Plate"),
    ],
)
def test_what_a_name_says_of_a_person_is_never_proposed_as_public(header: str) -> None:
    for kind in ("VARCHAR", "BIGINT", "DOUBLE", "DATE"):
        assert proposed(ColumnFacts(profile(header, kind))) is Classification.PERSONAL


def test_names_that_only_look_similar_are_left_alone() -> None:
    assert [one for one in ("Status", "Percentage", "Latency", "Boxes", "Single") if looks_personal(one)] == []


def test_what_values_say_of_a_person_is_never_proposed_as_public() -> None:
    postal = ColumnFacts(profile("Area", entities=(Entity("POSTAL_CODE", 0.4),), withheld=True))
    assert proposed(postal) is Classification.PERSONAL
    assert guess("town", facts(postal), 2026).columns[0].masking is Masking.POSTAL_AREA
    number = ColumnFacts(profile("Line", "BIGINT", entities=(Entity("PHONE_NUMBER", 0.9),), withheld=True))
    assert guess("town", facts(number), 2026).columns[0].masking is Masking.REDACT
    assert proposed(ColumnFacts(profile("Story", lengths=Lengths(1, 400, 80.0)))) is Classification.PERSONAL
    assert proposed(ColumnFacts(profile("Breed", distinct=900, unique=10))) is Classification.INTERNAL
    assert proposed(ColumnFacts(profile("Status"))) is Classification.PUBLIC


def test_the_year_comes_from_the_column_that_tells_it_best() -> None:
    opened = ColumnFacts(profile("Opened", "DATE"), years=((2023, 400), (2024, 600)))
    expires = ColumnFacts(profile("Expiry date", "DATE"), years=((2024, 400), (2031, 600)))
    count = ColumnFacts(profile("Count", "BIGINT"), years=((2000, 990), (2010, 10)))
    birth = ColumnFacts(profile("BirthYear", "BIGINT"), years=((1970, 500), (1980, 500)))
    folder = ColumnFacts(profile("FOLDERYEAR", "BIGINT"), years=((23, 400), (24, 600)))
    found = guess("town", facts(expires, count, birth, opened), 2026).partition
    assert (found.header, found.transform, found.first_year) == ("Opened", PartitionTransform.YEAR, 2023)
    found = guess("town", facts(expires, opened, folder), 2026).partition
    assert (found.header, found.transform, found.first_year) == ("FOLDERYEAR", PartitionTransform.TWO_DIGITS, 2023)
    found = guess("town", facts(count, birth), 2026).partition
    assert (found.header, found.transform) == (None, PartitionTransform.SNAPSHOT)

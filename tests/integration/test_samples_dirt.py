"""Every kind of dirt is in a large sample at its rate, and nothing else is wrong with it."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime
from math import sqrt

import pytest

from city_platform.samples import generate, licences, names, places, tickets
from city_platform.samples.draws import SLOTS

ROWS = 300_000
Row = dict[str, str]


@pytest.fixture(scope="module")
def licence_rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    file = generate("business_licences", tmp_path_factory.mktemp("samples") / "licences.csv", ROWS, 11).path
    with file.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text, delimiter=";", strict=True))


@pytest.fixture(scope="module")
def ticket_rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str | int | None]]:
    file = generate("parking_tickets", tmp_path_factory.mktemp("samples") / "tickets.jsonl", ROWS, 11).path
    with file.open(encoding="utf-8") as text:
        return [json.loads(line) for line in text]


def assert_share(found: int, share: float, rows: int = ROWS) -> None:
    """Within five standard deviations of a binomial draw, plus the half slot by which a wheel rounds."""
    expected = rows * share
    assert abs(found - expected) <= 5 * sqrt(expected) + rows / SLOTS, f"{found} rows, expected about {expected:.0f}"


def count(rows: Iterable[Row], wrong: Callable[[Row], bool]) -> int:
    return sum(map(wrong, rows))


def test_all_rows_read_back(licence_rows: list[Row]) -> None:
    assert len(licence_rows) == ROWS
    assert all(None not in row and None not in row.values() for row in licence_rows)
    assert Counter(row["FOLDERYEAR"] for row in licence_rows).keys() == {f"{year:02d}" for year in range(14, 26)}
    assert max(Counter(row["FOLDERYEAR"] for row in licence_rows).values()) < ROWS / 12 * 1.05


@pytest.mark.parametrize(
    ("share", "wrong"),
    [
        (licences.NO_FEE_SHARE, lambda row: row["FeePaid"] == ""),
        (licences.NEGATIVE_FEE_SHARE, lambda row: row["FeePaid"] == "-123.0"),
        (licences.ABSURD_EMPLOYEES_SHARE, lambda row: float(row["NumberofEmployees"]) == 148_358),
        (licences.NO_STATUS_SHARE, lambda row: row["Status"] == ""),
        (licences.UNKNOWN_STATUS_SHARE, lambda row: row["Status"] == "Suspended"),
        (licences.PADDED_STATUS_SHARE, lambda row: row["Status"] != row["Status"].strip()),
        (names.FORMULA_SHARE * 2 * 5, lambda row: any(one[:1] in tuple("=+-@") for one in both_names(row) if one)),
        (names.BROKEN_LINE_SHARE * 2 * 3, lambda row: any("\n" in one for one in both_names(row))),
        (
            names.NON_ASCII_SHARE * 2 * 10,
            lambda row: any(not one.replace("\xa0", "").isascii() for one in both_names(row)),
        ),
        (names.DELIMITER_SHARE * 2, lambda row: "Bits; Bobs" in both_names(row)),
    ],
)
def test_licences_have_the_dirt_of_the_real_ones(
    licence_rows: list[Row], share: float, wrong: Callable[[Row], bool]
) -> None:
    assert_share(count(licence_rows, wrong), share)


def both_names(row: Row) -> tuple[str, str]:
    return row["BusinessName"], row["BusinessTradeName"]


@pytest.mark.parametrize("formula", names.FORMULAS)
def test_names_that_a_spreadsheet_would_run_are_there(licence_rows: list[Row], formula: str) -> None:
    assert_share(count(licence_rows, lambda row: row["BusinessName"] == formula), names.FORMULA_SHARE)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("Province", "--"),
        ("Province", "v5"),
        ("Province", "bc"),
        ("PostalCode", "NOT APPLIC"),
        ("PostalCode", "V6B 15G"),
        ("City", "qBCVancouver"),
        ("City", " Vancouver "),
    ],
)
def test_addresses_have_the_dirt_of_the_real_ones(licence_rows: list[Row], field: str, wrong: str) -> None:
    (dirt,) = (dirt for dirt in places.ADDRESS_DIRT if dirt.field == field and dirt.change("") == wrong)

    # Dirt sits in whole buildings: their number is rounded, and one of them may have got two kinds of it.
    found = count(licence_rows, lambda row: row[field] == wrong)
    assert_share(found, round(dirt.share * places.PLACES) / places.PLACES)


def test_postal_codes_come_in_every_spelling(licence_rows: list[Row]) -> None:
    shapes = Counter(re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "9", row["PostalCode"])))
                     for row in licence_rows if row["PostalCode"])  # fmt: skip

    assert shapes.most_common(1)[0][0] == "A9A 9A9"
    assert shapes.keys() >= {"A9A9A9", "A9A  9A9", "a9a 9a9", "AAA AAAAAA", "A9A 99A"}
    assert shapes["A9A 9A9"] > 0.95 * shapes.total()


def test_employees_and_areas_change_their_form_in_2024(licence_rows: list[Row]) -> None:
    old = [row for row in licence_rows if int(row["FOLDERYEAR"]) < 24]
    modern = [row for row in licence_rows if int(row["FOLDERYEAR"]) >= 24]

    assert_share(count(old, lambda row: row["NumberofEmployees"] == "000"), 0.34, len(old))
    assert all(row["NumberofEmployees"].isdigit() for row in old)
    assert all(re.fullmatch(r"\d+\.0|000", row["NumberofEmployees"]) for row in modern)
    assert {row["LocalArea"] for row in old} == {""}
    assert {row["LocalArea"] for row in modern} > {"Downtown", "Arbutus-Ridge", "Out of Town", "UBC"}
    assert "" not in {row["LocalArea"] for row in modern}
    assert {row["LicenceRevisionNumber"] for row in licence_rows} == {"00", "01", "02", "03", "10", "11", "12"}


def test_some_licences_expire_before_they_are_issued(licence_rows: list[Row]) -> None:
    dated = [row for row in licence_rows if row["IssuedDate"]]
    broken = [row for row in dated if row["ExpiredDate"] == "209-12-31"]
    valid = [row for row in dated if row["ExpiredDate"] != "209-12-31"]
    before = [
        row
        for row in valid
        if date.fromisoformat(row["ExpiredDate"]) < datetime.fromisoformat(row["IssuedDate"]).date()
    ]

    assert all(row["ExpiredDate"] == "" for row in licence_rows if not row["IssuedDate"])
    assert 0.8 * ROWS < len(dated) < 0.95 * ROWS
    assert_share(len(broken), licences.BROKEN_EXPIRY_SHARE, len(dated))
    assert_share(len(before), licences.EXPIRY_BEFORE_ISSUE_SHARE, len(dated))


def test_duplicates_are_exact_or_later(licence_rows: list[Row]) -> None:
    by_key: dict[tuple[str, str], list[Row]] = {}
    for row in licence_rows:
        by_key.setdefault((row["LicenceRSN"], row["LicenceRevisionNumber"]), []).append(row)
    twice = [rows for rows in by_key.values() if len(rows) > 1]

    assert {len(rows) for rows in twice} == {2}
    exact = [rows for rows in twice if rows[0] == rows[1]]
    later = [rows for rows in twice if rows[0] != rows[1]]
    assert_share(len(exact), licences.EXACT_DUPLICATE_SHARE)
    assert_share(len(later), licences.LATER_EXTRACT_SHARE)
    for one, other in later:
        assert {name for name in one if one[name] != other[name]} == {"ExtractDate"}
        apart = datetime.fromisoformat(one["ExtractDate"]) - datetime.fromisoformat(other["ExtractDate"])
        assert abs(apart.total_seconds()) == 3 * 86_400


def test_a_few_per_mille_break_the_row_rules(licence_rows: list[Row]) -> None:
    known = {"Issued", "Inactive", "Gone Out of Business", "Pending", "Cancelled"}

    def fails(row: Row) -> bool:
        expired = "0" + row["ExpiredDate"] if row["ExpiredDate"] == "209-12-31" else row["ExpiredDate"]
        return (
            row["Status"].strip() not in known
            or (row["FeePaid"] != "" and float(row["FeePaid"]) < 0)
            or float(row["NumberofEmployees"]) > 20_000
            or (expired != "" and expired < row["IssuedDate"][:10])
        )

    assert 1e-3 < count(licence_rows, fails) / ROWS < 4e-3


def test_infraction_texts_are_missing_as_often_as_in_each_real_year(
    ticket_rows: list[dict[str, str | int | None]],
) -> None:
    for year in range(2020, 2025):
        rows = [row for row in ticket_rows if row["Year"] == year]
        missing = sum(row["InfractionText"] is None for row in rows)
        # Repeated rows come in runs, so the draw varies more than a binomial one.
        assert missing / len(rows) == pytest.approx(tickets.NO_TEXT_SHARES.get(year, 0), abs=0.015)
    texts = [str(row["InfractionText"]) for row in ticket_rows if row["InfractionText"]]
    assert sum(map(ends_with_a_dot_too_many, texts)) / len(texts) == pytest.approx(
        tickets.TRAILING_DOT_SHARE, abs=0.003
    )


def ends_with_a_dot_too_many(text: str) -> bool:
    return text.endswith("..") or (text.endswith(".") and not text.endswith("P.M."))


def test_tickets_repeat_but_their_numbers_do_not(ticket_rows: list[dict[str, str | int | None]]) -> None:
    patterns = {tuple(value for name, value in row.items() if name != "BI_ID") for row in ticket_rows}

    assert len({row["BI_ID"] for row in ticket_rows}) == len(ticket_rows) == ROWS
    assert 1 - len(patterns) / ROWS > tickets.REPEAT_SHARE


def test_test_blocks_and_padded_streets_are_there(ticket_rows: list[dict[str, str | int | None]]) -> None:
    scales = Counter(row["Block"] for row in ticket_rows if row["Street"] == "SCALES PLACE")

    assert scales.keys() == {11_100, 99_900}
    assert scales.total() / ROWS == pytest.approx(tickets.TEST_BLOCK_SHARE, rel=0.5)
    padded = sum(str(row["Street"]) != " ".join(str(row["Street"]).split()) for row in ticket_rows)
    assert padded / ROWS == pytest.approx(tickets.PADDED_STREET_SHARE, rel=0.25)
    assert {row["Status"] for row in ticket_rows} == {"IS", "VA", "WR", "VS"}

"""The city's own files through the two datasets' recipes: no row lost, every untyped value accounted for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from city_platform.cleaning.compile import cleaning_select
from city_platform.cleaning.recipe import Recipe, parse_recipe
from city_platform.contracts.load import load_contract
from city_platform.contracts.model import Contract
from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CITY_REAL_DATA", ROOT.parent / "shared" / "data")) / "vancouver"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real city files under {DATA} (CITY_REAL_DATA)"),
]


def dataset(name: str) -> tuple[Contract, Recipe]:
    folder = ROOT / "datasets" / name
    contract, findings = load_contract((folder / "contract.yaml").read_text(), "contract.yaml")
    assert contract is not None, findings
    recipe, findings = parse_recipe((folder / "recipe.json").read_text(), "recipe.json", contract)
    assert recipe is not None, findings
    return contract, recipe


@pytest.fixture
def session(tmp_path: Path) -> Iterator[DuckDBSession]:
    with DuckDBEngine(tmp_path, (DATA,)).session() as opened:
        yield opened


def clean(session: DuckDBSession, name: str, relation: str) -> tuple[int, int]:
    """Makes the table `cleaned`; rows in and out."""
    contract, recipe = dataset(name)
    session.execute(f"CREATE TEMP TABLE raw AS SELECT *, row_number() OVER () - 1 AS _row FROM {relation}")
    headers = {row[0].casefold(): row[0] for row in session.rows("DESCRIBE raw")}
    present = {
        column.source_name: headers[one.casefold()]
        for column in contract.columns
        for one in (column.source_name, *column.aliases)
        if one.casefold() in headers
    }
    sql = cleaning_select(recipe, contract, session.dialect, present, "raw", source_index=0)
    session.execute(f"CREATE TEMP TABLE cleaned AS {sql}")
    (counts,) = session.rows("SELECT (SELECT count(*) FROM raw), (SELECT count(*) FROM cleaned)")
    return counts[0], counts[1]


def untyped(session: DuckDBSession) -> dict[str, int]:
    return dict(
        session.rows(
            'SELECT u."column", count(*) FROM (SELECT unnest(_untyped) AS u FROM cleaned) GROUP BY 1 ORDER BY 1'
        )
    )


@pytest.mark.parametrize(
    ("file", "rows"),
    [("api-rows-2013-2024.csv", 10_000), ("api-rows-2024-plus.csv", 10_000), ("portal-subset-2025.csv", 3_385)],
)
def test_every_licence_row_is_cleaned(session: DuckDBSession, file: str, rows: int) -> None:
    path = session.dialect.text(str(DATA / "business-licences" / file))
    assert clean(session, "business_licences", f"read_csv({path}, all_varchar = true)") == (rows, rows)
    assert untyped(session) == {}
    wrong = {
        "two digits of a year": "FileYear NOT BETWEEN 1997 AND 2100",
        "unit type": "UnitType IN ('Unti', 'Units', 'uNIT')",
        "province": "Province <> upper(Province) OR Province IN ('BRITISH COLUMBIA', '--')",
        "geometry of a downloader": "starts_with(Geom, '{''') OR starts_with(GeoPoint2d, '{')",
        "postal code": "regexp_full_match(PostalCode, '[A-Z][0-9][A-Z][0-9][A-Z][0-9]')",
        "white space": "BusinessName <> trim(BusinessName) OR contains(BusinessName, '  ') OR BusinessName = ''",
        "area under another name": "LocalArea = 'Arbutus-Ridge'",
        "removed": "_removed IS NOT NULL",
    }
    for what, test in wrong.items():
        assert session.rows(f"SELECT count(*) FROM cleaned WHERE {test}") == [(0,)], what
    assert session.rows("SELECT count(*) FROM cleaned WHERE (Geom IS NULL) <> (GeoPoint2d IS NULL)") == [(0,)]


def test_unknown_numbers_of_employees_are_null(session: DuckDBSession) -> None:
    path = session.dialect.text(str(DATA / "business-licences" / "api-rows-2013-2024.csv"))
    clean(session, "business_licences", f"read_csv({path}, all_varchar = true)")
    counted = session.rows(
        "SELECT count(*) FROM raw JOIN cleaned USING (_row) "
        "WHERE (trim(raw.numberofemployees) = '000') AND cleaned.NumberofEmployees IS NOT NULL"
    )
    assert counted == [(0,)]


def test_every_parking_ticket_is_cleaned(session: DuckDBSession) -> None:
    path = session.dialect.text(str(DATA / "parking-tickets" / "parking_tickets_1.jsonl.gz"))
    names = ("Block", "Street", "EntryDate", "Bylaw", "Section", "Status", "InfractionText", "Year", "BI_ID")
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    before, after = clean(session, "parking_tickets", f"read_json({path}, columns = {{{columns}}})")
    assert before == after == 300_000
    assert untyped(session) == {}
    assert session.rows("SELECT count(*) FROM cleaned WHERE ends_with(InfractionText, '.')") == [(0,)]

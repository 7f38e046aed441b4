"""The licensing department's questions, answered by the platform and by plain Python from the same rows."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from statistics import median

import dagster as dg
import pyarrow.parquet as pq
import pytest
import sqlglot

from assets.questions import questions_asset
from city_platform.contracts.question import read_question
from city_platform.datasets import Dataset, load_dataset
from city_platform.layers import cleaned, landing, quality_checked, questions, raw
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from resources.platform import PlatformResource
from tests.town import ROOT, StandingClock

# Year, status, kind of business, employees, fee.
Licence = tuple[int, str, str, int | None, str | None]
LICENCES: Sequence[Licence] = [
    *((2023, "Issued", "Restaurant", 10 + n, f"{100 + n}.25") for n in range(7)),
    *((2023, "Issued", "Office", n * n, None if n % 3 else "150.00") for n in range(1, 10)),
    (2023, "Issued", "Restaurant", 30_000, None),  # plausible to the rules, not to the question
    (2023, "Issued", "Restaurant", 148_358, "10.00"),  # held back by the rules
    (2023, "Cancelled", "Restaurant", 5, "1.00"),
    *((2024, "Issued", kind, 3, "20.00") for kind in ("Peddler", "Kiosk")),  # the lowest average, shared
    (2024, "Issued", "Peddler", None, None),
    (2024, "Issued", "Restaurant", 43, "1000.10"),
    (2024, "Pending", "Kiosk", 9, "0.50"),
    (2022, "", "Kiosk", 9, "0.50"),  # a year without any status: its gate stays closed
]


@pytest.fixture(scope="module")
def licensing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, Dataset, Path]:
    folder = tmp_path_factory.mktemp("licensing")
    platform = local_platform(folder / "home", StandingClock())
    dataset, mistakes = load_dataset(ROOT / "datasets" / "business_licences")
    assert dataset is not None, mistakes
    needed = [column.source_name for column in dataset.contract.columns if column.required_in_source]
    with (folder / "licences.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, needed, restval="", delimiter=";")
        writer.writeheader()
        for number, (year, status, kind, employees, fee) in enumerate(LICENCES):
            writer.writerow(
                {
                    "FOLDERYEAR": year % 100,
                    "LicenceRSN": number,
                    "LicenceNumber": f"{year % 100}-{number:06}",
                    "LicenceRevisionNumber": "00",
                    "Status": status,
                    "BusinessType": kind,
                    "NumberofEmployees": "" if employees is None else employees,
                    "FeePaid": fee or "",
                    "ExtractDate": f"{year}-12-01",
                }
            )
    landing.land(platform, dataset, folder / "licences.csv")
    for year in ("2022", "2023", "2024"):
        for layer in (raw, cleaned, quality_checked):
            layer.materialize(platform, dataset, year)
    return platform, dataset, folder / "home"


def cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def mean(values: Sequence[Decimal]) -> Decimal:
    return cents(sum(values, Decimal()) / len(values))


TRUSTED = [one for one in LICENCES if one[3] != 148_358 and one[1] == "Issued"]


def test_the_answers_are_those_of_plain_python(licensing: tuple[Platform, Dataset, Path]) -> None:
    platform, dataset, _ = licensing
    manifest, answers = questions.materialize(platform, dataset)
    rows = {one.question.name: [dict(zip(one.headers, row, strict=True)) for row in one.rows] for one in answers}
    assert manifest.details == {"years": ["2023", "2024"], "years_behind_a_closed_gate": ["2022"]}
    fees = [Decimal(one[4]) for one in TRUSTED if one[4]]
    (fee,) = rows["average_fee"]
    assert fee["Average Fee Paid"] == mean(fees)
    assert fee["Median Fee Paid"] == cents(median(fees))
    assert (fee["Issued Licences"], fee["With Fee"]) == (len(TRUSTED), len(fees))
    assert fee["Without Fee Percent"] == cents(Decimal(100 * (len(TRUSTED) - len(fees))) / len(TRUSTED))

    assert [row["Business Type"] for row in rows["lowest_average_fee"]] == ["Kiosk", "Peddler"]
    assert {row["Average Fee Paid"] for row in rows["lowest_average_fee"]} == {Decimal(20)}
    assert [row["Without Fee Percent"] for row in rows["lowest_average_fee"]] == [Decimal(0), Decimal(50)]

    employees: dict[str, list[int]] = defaultdict(list)
    for _, _, kind, number, _ in TRUSTED:
        if number is not None and number <= 20_000:
            employees[kind].append(number)
    expected = {
        kind: (mean([Decimal(one) for one in numbers]), Decimal(str(median(numbers))), len(numbers))
        for kind, numbers in employees.items()
        if len(numbers) >= 5
    }
    found = {
        row["Business Type"]: (row["Average Employees"], row["Median Employees"], row["With Employees"])
        for row in rows["average_employees"]
    }
    assert found == expected
    assert {row["Business Type"]: row["Implausible"] for row in rows["average_employees"]}["Restaurant"] == 1

    assert [tuple(row.values())[:2] for row in rows["employees_and_fees"]] == [(2023, 30_000), (2024, 43)]
    stored = platform.lake.paths(manifest, "employees_and_fees")
    assert pq.read_table(stored[0])["Most Employees"].to_pylist() == [30_000, 43]
    assert stored[1].read_bytes().startswith(b"\x89PNG")
    assert questions.materialize(platform, dataset)[0].sequence == manifest.sequence  # the same bytes: nothing new


def test_the_asset_shows_tables_and_the_chart(licensing: tuple[Platform, Dataset, Path]) -> None:
    _, dataset, home = licensing
    result = dg.materialize(
        [questions_asset(dataset)],
        resources={"platform": PlatformResource(home=str(home))},
        selection=dg.AssetSelection.assets(dg.AssetKey([dataset.name, "questions"])),
    )
    (event,) = result.get_asset_materialization_events()
    shown = {key: str(value.value) for key, value in event.materialization.metadata.items()}
    assert "| Kiosk | 20.00 |" in shown["Which kinds of business pay the lowest average fee for an issued licence?"]
    charted = [text for text in shown.values() if "data:image/png;base64," in text]
    assert len(charted) == 1
    assert "| 2023 | 30000 |" in charted[0]


def test_without_data_there_is_nothing_to_ask(tmp_path: Path) -> None:
    platform = local_platform(tmp_path / "home", StandingClock())
    dataset, _ = load_dataset(ROOT / "datasets" / "business_licences")
    assert dataset is not None
    with pytest.raises(questions.NothingToAsk, match="no year whose rows may be used"):
        questions.materialize(platform, dataset)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT count(*) AS n FROM trusted ORDER BY n", "does not ask the question"),
        ("-- How many?\nSELECT median(FeePaid) AS n FROM trusted ORDER BY n", "Athena has no median()"),
        ("-- How many?\nSELECT max(BusinessName) AS n FROM trusted ORDER BY n", "personal column BusinessName"),
        ("-- How many?\nSELECT max(Fee) AS n FROM trusted ORDER BY n", "there is no column 'Fee'"),
        ("-- How many?\n-- chart: m\nSELECT count(*) AS n FROM trusted ORDER BY n", "the chart asks for 'm'"),
        ("-- How many?\nSELECT len(Status) AS n FROM secrets ORDER BY n", "reads from 'secrets'"),
        ("-- How many?\nSELECT yearweek(IssuedDate) AS n FROM trusted ORDER BY n", "Athena has no yearweek()"),
    ],
)
def test_a_question_that_could_not_be_asked_is_refused(
    sql: str, problem: str, licensing: tuple[Platform, Dataset, Path]
) -> None:
    question, findings = read_question(
        sql + "\n", "datasets/business_licences/questions/one.sql", licensing[1].contract
    )
    assert question is None
    assert any(problem in str(finding) for finding in findings), findings


def test_every_question_is_valid_for_athena(licensing: tuple[Platform, Dataset, Path]) -> None:
    for question in licensing[1].questions:
        (statement,) = sqlglot.parse(question.athena, dialect="athena")
        assert isinstance(statement, sqlglot.exp.Select)

"""What Spark is asked, without Spark: patterns in Java's words, what is refused, settings."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import parse_one

from city_platform.datasets import load_dataset
from city_platform.deployment import open_platform
from city_platform.engines.duckdb import DuckDBEngine
from city_platform.engines.java_patterns import java_pattern
from city_platform.engines.session import NotOnSpark, Session
from city_platform.engines.spark import SparkDialect
from city_platform.engines.spark_settings import LEAST_ROWS, InvalidSparkSettings, SparkSettings
from city_platform.engines.spark_sql import spark_sql
from city_platform.engines.spark_summary import summary_for_spark
from city_platform.layers.computing import computed
from city_platform.local.platform import local_platform
from city_platform.protection.masking import masked_type
from tests.town import ROOT

# Read with RE2's meaning; and a text that Java alone would judge otherwise.
WRITTEN = [
    ("a$", r"(?d)a\z"),
    ("^a", r"(?d)\Aa"),
    (r"\s", r"(?d)[\t\n\f\r\x{20}]"),
    ("[[a]", r"(?d)[\x{5b}\x{61}]"),
    ("[a&&b]", r"(?d)[\x{61}\x{26}\x{26}\x{62}]"),
    ("a{,2}", r"(?d)a\x{7b}\x{2c}2\x{7d}"),
    ("(?i)k", "(?d)(?iu)k"),
    (r"\v", r"(?d)\x{b}"),
    ("x+?y{2,}", "(?d)x+?y{2,}"),
]


@pytest.mark.parametrize(("pattern", "java"), WRITTEN)
def test_patterns_are_written_anew(pattern: str, java: str) -> None:
    assert java_pattern(pattern).pattern == java


@pytest.mark.parametrize(
    "pattern", [r"\pL", r"(?m)^a", "(a*)+", "(|a)*", r"(?P<n>a)", "[[:alpha:]]", "(?i)é", r"\Qa\E", r"\C"]
)
def test_what_java_may_read_otherwise_is_refused(pattern: str) -> None:
    with pytest.raises(NotOnSpark, match="pattern"):
        java_pattern(pattern)


@given(st.text("ab^$.[]()*+?{}|\\-&12,i:s", max_size=12))
def test_a_pattern_is_written_or_refused_and_never_breaks(pattern: str) -> None:
    try:
        written = java_pattern(pattern)
    except NotOnSpark:
        return
    assert "$" not in re.sub(r"\\x\{24\}", "", written.pattern)


@pytest.mark.parametrize(
    ("pattern", "nothing"), [("a*", True), ("a", False), ("a|", True), ("(a?)b", False), ("^", True), ("(?:)", True)]
)
def test_it_is_known_what_matches_nothing(pattern: str, nothing: bool) -> None:
    assert java_pattern(pattern).matches_nothing is nothing
    if nothing:
        with pytest.raises(NotOnSpark, match="nothing"):
            SparkDialect().replace_all("x", pattern, "")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT avg(price) FROM t",
        "SELECT * FROM t WHERE cast(x AS INT) = 1",
        "SELECT * FROM t WHERE a / b > 1",
        "SELECT * FROM t WHERE upper(x) = 'A'",
        r"SELECT * FROM t WHERE x RLIKE '\\pL'",
        "SELECT * FROM t WHERE soundex(x) = 'a'",
    ],
)
def test_statements_whose_meaning_is_not_held_are_refused(sql: str) -> None:
    with pytest.raises(NotOnSpark):
        spark_sql(parse_one(sql, dialect="spark"))


def test_statements_keep_their_words() -> None:
    sql = "SELECT * FROM t WHERE x IS NULL OR y >= CAST(z - INTERVAL '8' HOURS AS DATE) AND w RLIKE 'a$'"
    assert spark_sql(parse_one(sql, dialect="spark")) == sql.replace("a$", r"(?d)a\\z")


ON_SPARK = {
    *("business_licences", "incidents", "inquiry_volume_311", "local_area_boundary"),
    *("parking_tickets", "police_incidents", "service_requests_311"),
}


@pytest.mark.parametrize("folder", sorted((ROOT / "datasets").iterdir()), ids=lambda one: one.name)
def test_it_is_known_which_summaries_spark_computes(folder: Path) -> None:
    dataset, _ = load_dataset(folder)
    assert dataset is not None
    columns = {one.name: masked_type(one) for one in dataset.contract.columns}
    if dataset.name in ON_SPARK:
        found = summary_for_spark(dataset.curated_sql, columns, date(2024, 5, 1))
        assert found.columns <= {name.lower() for name in columns}
        assert parse_one(found.sql, dialect="spark")
    else:
        with pytest.raises(NotOnSpark):
            summary_for_spark(dataset.curated_sql, columns, date(2024, 5, 1))


@pytest.mark.parametrize(
    ("summary", "column"),
    [
        ("SELECT sum(a) AS s FROM trusted ORDER BY s", "DOUBLE"),  # depends on the order of the rows
        ("SELECT CAST(a AS DECIMAL(5, 2)) AS s FROM trusted ORDER BY s", "DOUBLE"),
        ("SELECT CAST(a AS BIGINT) AS s FROM trusted ORDER BY s", "DOUBLE"),
        ("SELECT timezone('UTC', a) AS s FROM trusted ORDER BY s", "TIMESTAMP"),  # the other way round
        ("SELECT regexp_replace(a, 'x', '') AS s FROM trusted ORDER BY s", "VARCHAR"),  # the first, or all
        ("SELECT a * a AS s FROM trusted ORDER BY s", "DECIMAL(30,10)"),  # Spark gives up decimals
        ("SELECT strftime(a, '%Y') AS s FROM trusted ORDER BY s", "TIMESTAMP WITH TIME ZONE"),
        ("SELECT median(a) AS s FROM trusted ORDER BY s", "INTEGER"),
    ],
)
def test_what_depends_on_types_is_refused(summary: str, column: str) -> None:
    with pytest.raises(NotOnSpark):
        summary_for_spark(summary, {"a": column}, date(2024, 5, 1))


def test_a_number_is_rounded_as_duckdb_rounds_it() -> None:
    found = summary_for_spark(
        "SELECT CAST(a AS BIGINT) AS s, getvariable('report_date') AS d FROM trusted ORDER BY s",
        {"a": "DECIMAL(12,2)"},
        date(2024, 5, 1),
    )
    assert "CAST(ROUND(`trusted`.`a`, 0) AS BIGINT)" in found.sql
    assert "'2024-05-01'" in found.sql


def test_what_spark_refuses_is_computed_here_and_told(tmp_path: Path) -> None:
    class Refusing:
        least_rows, place = 10, "sc://elsewhere"

        def session(self) -> Any:
            raise NotOnSpark("the pattern may be read otherwise")

    platform = replace(local_platform(tmp_path), spark=Refusing())  # type: ignore[arg-type] -- never connects
    with DuckDBEngine(tmp_path / "engine").session() as here:
        asked: list[Session] = []
        assert computed(platform, here, 10, lambda session: asked.append(session) or len(asked)) == 1
        assert computed(platform, here, 9, lambda _: "few") == "few"
    assert asked == [here]
    assert platform.engines.take() == [
        "DuckDB: the pattern may be read otherwise",
        "DuckDB: 9 rows, and Spark is asked from 10 on",
    ]
    assert platform.engines.take() == []


def test_settings_name_a_server(tmp_path: Path) -> None:
    assert SparkSettings.of({}) is None
    found = SparkSettings.of({"CITY_PLATFORM_SPARK": "sc://spark.internal:15002"})
    assert found == SparkSettings("sc://spark.internal:15002", LEAST_ROWS)
    platform = open_platform(tmp_path, {"CITY_PLATFORM_SPARK": "sc://h", "CITY_PLATFORM_SPARK_ROWS": "5"})
    assert platform.spark is not None
    assert (platform.spark.place, platform.spark.least_rows) == ("sc://h", 5)
    assert open_platform(tmp_path, {}).spark is None


def test_a_token_goes_over_tls_alone_and_is_never_shown() -> None:
    found = SparkSettings.of({"CITY_PLATFORM_SPARK": "sc://h:1", "CITY_PLATFORM_SPARK_TOKEN": "hidden"})
    assert found is not None
    assert found.url() == "sc://h:1/;use_ssl=true;token=hidden"
    assert "hidden" not in found.address


@pytest.mark.parametrize(
    ("address", "rows", "said"),
    [
        ("http://h:1", "x", r"SPARK_ROWS='x'.*SPARK='http://h:1' is no address"),
        ("sc://", "5", "is no address"),
        ("sc://h:99999", "5", "is no address"),
        ("sc://h/;token=hidden", "5", "holds a secret"),
        ("00abcdef", "-1", "SPARK_ROWS='-1'.*is no address"),
    ],
)
def test_wrong_settings_are_told_all_at_once(address: str, rows: str, said: str) -> None:
    with pytest.raises(InvalidSparkSettings, match=said) as told:
        SparkSettings.of({"CITY_PLATFORM_SPARK": address, "CITY_PLATFORM_SPARK_ROWS": rows})
    assert "hidden" not in str(told.value)

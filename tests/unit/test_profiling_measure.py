"""The profile against the same statistics by plain Python, one value at a time."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.model import Classification
from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.profiling.measure import ColumnToProfile, measure
from city_platform.profiling.model import ColumnProfile, Numbers, Profile


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBSession]:
    with DuckDBEngine(tmp_path_factory.mktemp("engine"), threads=1).session() as session:
        yield session


def profiled(session: DuckDBSession, columns: dict[str, Sequence[Any]], *asked: ColumnToProfile) -> Profile:
    """Texts get their type inferred unless asked for otherwise; other columns are what Arrow makes of them."""
    session.connection.register("given", pa.table({name: pa.array(values) for name, values in columns.items()}))
    types = {row[0]: row[1] for row in session.rows("DESCRIBE SELECT * FROM given")}
    named = {one.name: one for one in asked}
    wanted = [
        named.get(name, ColumnToProfile(name, None if kind == "VARCHAR" else kind)) for name, kind in types.items()
    ]
    return measure(session, "given", wanted, "given", "America/Vancouver")


def close(got: float | None, wanted: float, scale: float) -> bool:
    """Equal but for rounding, measured against the size of the values that were added up."""
    return got is not None and math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-12 * scale)


def percentile(ordered: Sequence[float], percent: int) -> float:
    place = percent / 100 * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


doubles = st.floats(min_value=-1e12, max_value=1e12, allow_subnormal=False).map(lambda x: round(x, 3))


@settings(max_examples=25)
@given(
    values=st.lists(st.one_of(st.none(), doubles, st.sampled_from([0.0, 1.0, -1.0, math.inf, math.nan])), max_size=60)
)
def test_numbers_are_those_of_plain_python(session: DuckDBSession, values: list[float | None]) -> None:
    profile = profiled(session, {"x": pa.array(values, pa.float64())})
    (column,) = profile.columns
    valid = sorted(value for value in values if value is not None and math.isfinite(value))
    counts = Counter(valid)
    assert column.missing == values.count(None)
    assert column.invalid == len(values) - len(valid) - values.count(None)
    assert (column.valid, column.distinct) == (len(valid), len(counts))
    assert column.unique == sum(count == 1 for count in counts.values())
    shares = [count / len(valid) for count in counts.values()]
    assert math.isclose(column.entropy, -sum(share * math.log2(share) for share in shares), abs_tol=1e-9)
    if not valid:
        assert column.numbers is None
        return
    numbers = column.numbers
    assert numbers is not None
    assert (numbers.minimum, numbers.maximum) == (valid[0], valid[-1])
    assert (numbers.zeros, numbers.negatives) == (valid.count(0.0), sum(value < 0 for value in valid))
    assert numbers.mode == min(counts, key=lambda value: (-counts[value], value))
    size = max(abs(valid[0]), abs(valid[-1]))
    assert close(numbers.mean, statistics.fmean(valid), size)
    assert close(numbers.sum, math.fsum(valid), size * len(valid))
    for percent, got in {50: numbers.median, **numbers.percentiles}.items():
        assert close(got, percentile(valid, percent), size)
    if len(valid) > 1:
        assert close(numbers.standard_deviation, statistics.stdev(valid), size)
    check_shape(numbers, valid)
    check_bins_and_outliers(numbers, valid)


def check_shape(numbers: Numbers, valid: Sequence[float]) -> None:
    mean, spread = statistics.fmean(valid), statistics.pstdev(valid)
    if spread <= 1e-6 * max(abs(valid[0]), abs(valid[-1])):
        return  # so close together that rounding is all there is to see
    scores = [(value - mean) / spread for value in valid]
    assert numbers.skewness is not None
    assert numbers.kurtosis is not None
    assert math.isclose(numbers.skewness, statistics.fmean(z**3 for z in scores), rel_tol=1e-6, abs_tol=1e-6)
    assert math.isclose(numbers.kurtosis, statistics.fmean(z**4 for z in scores) - 3, rel_tol=1e-6, abs_tol=1e-6)


def check_bins_and_outliers(numbers: Numbers, valid: Sequence[float]) -> None:
    edges, counts = numbers.histogram.edges, numbers.histogram.counts
    assert sum(counts) == len(valid)
    assert (edges[0], edges[-1]) == (valid[0], valid[-1])
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        assert isinstance(low, float)
        assert isinstance(high, float)
        near = 1e-9 * (valid[-1] - valid[0])
        assert sum(low + near < value < high - near for value in valid) <= count
        assert count <= sum(low - near <= value <= high + near for value in valid)
    for outliers in numbers.outliers.values():
        assert outliers.count == sum(not outliers.low <= value <= outliers.high for value in valid)
    assert close(numbers.outliers["iqr"].low, 2.5 * numbers.percentiles[25] - 1.5 * numbers.percentiles[75], 1e13)
    if "z_score" in numbers.outliers and numbers.standard_deviation and numbers.mean is not None:
        assert close(numbers.outliers["z_score"].high, numbers.mean + 3 * numbers.standard_deviation, 1e13)


@pytest.mark.parametrize("values", [[5e-324, 0.0], [1.7e308, 1.6e308, -1.7e308], [-0.0, 0.0], [2.0**1023] * 3])
def test_no_double_is_too_large_or_too_small(session: DuckDBSession, values: list[float]) -> None:
    (column,) = profiled(session, {"x": values}).columns
    assert column.numbers is not None
    assert column.numbers.minimum == min(values)
    assert sum(column.numbers.histogram.counts) == len(values)
    assert column.numbers.mean == pytest.approx(sum(value / len(values) for value in values))


@settings(max_examples=15)
@given(rows=st.lists(st.tuples(st.sampled_from(["", "a", "bb", "ccc", None]), st.integers(0, 2)), max_size=40))
def test_rows_cells_and_texts_are_those_of_plain_python(
    session: DuckDBSession, rows: list[tuple[str | None, int]]
) -> None:
    columns: dict[str, Any] = {
        "t": pa.array([row[0] for row in rows], pa.string()),
        "n": pa.array([row[1] for row in rows], pa.int32()),
    }
    profile = profiled(session, columns)
    text = profile.columns[0]
    filled = [row[0] for row in rows if row[0]]
    assert profile.rows == len(rows)
    assert profile.duplicate_rows == len(rows) - len(set(rows))
    assert profile.missing_cells == len(rows) - len(filled)
    assert profile.valid_cells == len(rows) + len(filled)
    assert profile.valid_cells_percent == pytest.approx(100 * (len(rows) + len(filled)) / (2 * len(rows) or 1) or 100)
    assert text.top == tuple(sorted(Counter(filled).items(), key=lambda one: (-one[1], one[0])))
    if filled:
        assert text.lengths is not None
        assert (text.lengths.minimum, text.lengths.maximum) == (min(map(len, filled)), max(map(len, filled)))
        assert text.lengths.mean == pytest.approx(statistics.fmean(map(len, filled)))


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(-9, 9), st.one_of(st.none(), st.integers(-9, 9))), min_size=2, max_size=40))
def test_correlations_are_those_of_plain_python(session: DuckDBSession, rows: list[tuple[int, int | None]]) -> None:
    profile = profiled(session, {"a": [a for a, _ in rows], "b": pa.array([b for _, b in rows], pa.int64())})
    both = [(a, b) for a, b in rows if b is not None]
    matrix = profile.correlations.matrix
    if len(matrix) == 1:  # nothing in b
        return
    if len({a for a, _ in both}) > 1 and len({b for _, b in both}) > 1:
        wanted = statistics.correlation([a for a, _ in both], [b for _, b in both])
        assert matrix[0][1] == matrix[1][0] == pytest.approx(wanted, abs=1e-9)
    else:
        assert matrix[0][1] is None


def column(session: DuckDBSession, name: str, values: Sequence[Any], **asked: Any) -> ColumnProfile:
    return profiled(session, {name: values}, ColumnToProfile(name, **asked)).columns[0]


@pytest.mark.parametrize(
    ("values", "kind", "invalid"),
    [
        (["1", "2", "-3"], "BIGINT", 0),
        (["43.0", "12.5", "1e3"], "DOUBLE", 0),
        (["00", "01", "10"], "VARCHAR", 0),  # codes
        (["2024-03-10", *["2024-03-11"] * 20, "209-12-31"], "DATE", 1),
        (["2024-03-10T02:30:00-08:00", "2024-03-10 12:00:00"], "TIMESTAMP WITH TIME ZONE", 0),
        (["true", "False"], "BOOLEAN", 0),
        (["1", "2", "light"], "VARCHAR", 0),
        (["", None], "VARCHAR", 0),
    ],
)
def test_the_type_of_texts_is_found_out(
    session: DuckDBSession, values: list[str | None], kind: str, invalid: int
) -> None:
    found = column(session, "x", values)
    assert (found.type, found.invalid, found.inferred) == (kind, invalid, True)
    assert found.missing == sum(not value for value in values)


def test_dates_are_counted_in_bins_between_the_first_and_the_last(session: DuckDBSession) -> None:
    (found,) = profiled(
        session, {"d": [date(2024, 1, 1), date(2024, 1, 11), date(2024, 1, 11), date(9999, 1, 1)]}
    ).columns
    assert found.times is not None
    assert (found.times.earliest, found.times.latest) == ("2024-01-01", "9999-01-01")
    assert found.times.histogram.edges[0] == "2024-01-01"
    assert found.times.histogram.counts == (3, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    (whole,) = profiled(session, {"v": [Decimal("1.10"), Decimal("2.30")]}).columns
    assert whole.numbers is not None
    assert whole.numbers.sum == pytest.approx(3.4)


CANARY = "Zanzibar Quillfeather"


@pytest.mark.parametrize(
    ("name", "values", "kinds"),
    [
        ("Contact", ["a.b@city.example", "c@d.example"], {"EMAIL"}),
        ("note", ["(604) 555-0199", "604-555-0123"], {"PHONE_NUMBER"}),
        ("PhoneNumber", ["6045550199", "6045550123"], {"PHONE_NUMBER"}),
        ("BI_ID", ["6045550199", "6045550123"], set()),
        ("code", ["V6B 2Z4", "v6b2z5"], {"POSTAL_CODE"}),
        ("ApplicantName", [CANARY, "Ann Lee"], {"PERSON_NAME"}),
        ("LocalArea", ["Arbutus Ridge", "Grandview Woodland"], set()),
        ("address", ["12 Main St", "453 W 12th Ave"], {"STREET_ADDRESS"}),
        ("Amount", ["12.5", "13.5"], set()),
    ],
)
def test_likely_personal_columns_are_found_and_their_values_withheld(
    session: DuckDBSession, name: str, values: list[str], kinds: set[str]
) -> None:
    profile = profiled(session, {name: values}, ColumnToProfile(name, None, Classification.PUBLIC))
    (found,) = profile.columns
    assert {entity.kind for entity in found.entities} == kinds
    assert found.withheld == bool(kinds)
    assert bool(profile.findings) == bool(kinds)
    told = str(profile.to_json())
    assert any(value in told for value in values) == (not kinds)


@pytest.mark.parametrize(
    "values", [[CANARY, "x"], [918273645, 5], [date(1971, 2, 13), date(1971, 2, 14)], [3.125, 1.0]]
)
def test_a_personal_column_tells_no_value(session: DuckDBSession, values: list[Any]) -> None:
    table = {"who": values, "n": [1, 2]}
    kind = {str: "VARCHAR", int: "BIGINT", date: "DATE", float: "DOUBLE"}[type(values[0])]
    profile = profiled(session, table, ColumnToProfile("who", kind, Classification.PERSONAL))
    personal = profile.columns[0]
    assert (personal.valid, personal.distinct, personal.unique) == (2, 2, 2)
    assert (personal.top, personal.numbers, personal.times) == ((), None, None)
    assert str(values[0]) not in str(profile.to_json())
    assert "who" not in profile.correlations.columns

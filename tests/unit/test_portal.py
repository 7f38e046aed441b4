"""What is read from a portal's answers: quota, dataset, records; and where requests go."""

import csv
import io
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.portal.errors import UnexpectedAnswer
from city_platform.portal.quota import exhausted_until, refused_until, reset_time
from city_platform.portal.records import RecordCounter
from city_platform.portal.settings import PORTAL, InvalidPortal, PortalSettings
from city_platform.portal.state import PortalState

NOW = datetime(2026, 8, 17, 22, 15, tzinfo=UTC)
MIDNIGHT = datetime(2026, 8, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2026-08-18T00:00:00Z",
        "2026-08-18 00:00:00+00:00",
        "2026-08-17T17:00:00-07:00",
        "2026-08-18",
        "Tue, 18 Aug 2026 00:00:00 GMT",
        str(int(MIDNIGHT.timestamp())),
        f"{MIDNIGHT.timestamp()}",
        str(int(MIDNIGHT.timestamp() * 1000)),
        str(int((MIDNIGHT - NOW).total_seconds())),
    ],
)
def test_a_reset_is_understood_however_it_is_written(written: str) -> None:
    assert reset_time(written, NOW) == MIDNIGHT


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)).map(lambda time: time.replace(microsecond=0)))  # noqa: DTZ001 -- a zone follows
def test_every_form_of_an_instant_is_the_same_instant(time: datetime) -> None:
    instant = time.replace(tzinfo=UTC)
    forms = {str(int(instant.timestamp())), instant.isoformat(), str(time), format_datetime(instant, usegmt=True)}
    assert {reset_time(form, NOW) for form in forms} == {instant}


@given(st.text())
def test_any_text_is_a_time_or_nothing(text: str) -> None:
    found = reset_time(text, NOW)
    assert found is None or found.tzinfo is UTC


def test_quota_is_used_up_when_nothing_remains() -> None:
    reset = str(int(MIDNIGHT.timestamp()))
    assert exhausted_until({"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, NOW) == MIDNIGHT
    assert exhausted_until({"x-ratelimit-remaining": "1", "x-ratelimit-reset": reset}, NOW) is None
    assert exhausted_until({}, NOW) is None


def test_a_refusal_says_in_its_body_or_headers_when_to_come_back() -> None:
    later = {"x-ratelimit-reset": "2026-08-19 00:00:00+00:00"}
    assert refused_until(later, {"errorcode": 10002, "reset_time": "2026-08-18T00:00:00Z"}, NOW) == MIDNIGHT
    assert refused_until({"retry-after": "30"}, {}, NOW) == NOW + timedelta(seconds=30)
    assert refused_until(later, {"reset_time": "soon"}, NOW) == MIDNIGHT + timedelta(days=1)
    assert refused_until({}, {}, NOW) is None


@given(
    st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from(["\r\n", "\n"]),
    st.lists(st.integers(0, 400)),
    st.booleans(),
)
def test_records_are_counted_as_a_csv_reader_counts_them(
    rows: list[list[str]], line_end: str, cuts: list[int], ended: bool
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";", lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    data = text.getvalue().encode()
    data = data if ended else data.removesuffix(line_end.encode())
    counter = RecordCounter()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, stop in zip(places, [*places[1:], len(data)], strict=True):
        counter.feed(data[start:stop])
    assert counter.records == len(rows) - 1


def test_nothing_has_no_records() -> None:
    assert RecordCounter().records == 0


def test_a_dataset_says_what_the_portal_says() -> None:
    said = {"title": "Trees", "modified": "2026-06-22", "data_processed": None, "records_count": 5}
    state = PortalState.of("trees", {"metas": {"default": said}})
    assert state == PortalState("trees", "Trees", 5, "2026-06-22", "")
    versions = {state.version}
    for name, value in {"modified": "2026-06-23", "data_processed": "2026-06-23", "records_count": 6}.items():
        versions.add(PortalState.of("trees", {"metas": {"default": said | {name: value}}}).version)
    assert len(versions) == 4
    assert PortalState("trees", "Trees", 5, "", "").version == ""


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "metas.default"),
        ({"metas": None}, "metas.default"),
        ({"metas": {"default": {"modified": 5}}}, "metas.default.records_count, metas.default.modified"),
        ({"metas": {"default": {"records_count": True}}}, "records_count"),
        ({"metas": {"default": {"records_count": -1}}}, "records_count"),
    ],
)
def test_an_answer_of_another_shape_is_refused_with_what_is_wrong(body: object, named: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=named):
        PortalState.of("trees", body)


def test_another_portal_may_stand_in_for_the_contracts() -> None:
    location = "https://opendata.example.org/api/explore/v2.1/catalog/datasets/trees"
    assert PortalSettings.of({}).address(location) == location
    there = "http://127.0.0.1:8001/api/explore/v2.1/catalog/datasets/trees"
    assert PortalSettings.of({PORTAL: "http://127.0.0.1:8001"}).address(location) == there
    assert PortalSettings.of({PORTAL: "https://x.example"}, base="http://127.0.0.1:8001/").address(location) == there


@pytest.mark.parametrize("base", ["portal.example.org", "ftp://x", "https://", "https://x/path", "https://u:p@x"])
def test_an_address_that_cannot_be_a_portal_is_refused(base: str) -> None:
    with pytest.raises(InvalidPortal, match="https://HOST"):
        PortalSettings(base=base)

"""From a change's record to a flat row: what is in it, what is not, and what is poison."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.types import TypeDeserializer
from hypothesis import given
from hypothesis import strategies as st

from city_platform.incidents import codec
from city_platform.incidents.model import Media, Severity, Status
from city_platform.incidents.stream import PoisonRecord, Row, delivered, flat_row
from city_platform.local.incident_stream import attribute
from tests.incident_stream import following, record
from tests.incidents import NOW, incident


def pseudonym(subject: str) -> str:
    return f"someone-{len(subject)}"


def test_a_change_becomes_a_flat_row_with_what_it_was_before() -> None:
    before = incident(
        description="call me: sam@example.org",
        address="453 West 12th Avenue",
        postal_code="V5Y 1V4",
        media=(Media("media/1.jpg", "image/jpeg", 1234),),
        attributes={"depth_cm": 12, "items": ("bags", "other"), "lane": "kerb", "width": 1.5},
        assigned_to="crew 7",
        expected_at=NOW,
    )
    after = following(
        before, status=Status.ACKNOWLEDGED, severity=Severity.CRITICAL, updated_at=NOW + timedelta(hours=9)
    )
    row = flat_row(record(after, before, 41), pseudonym)
    assert row.event_id == f"{after.incident_id}.2.MODIFY"
    assert (row.status, row.old_status) == (Status.ACKNOWLEDGED, Status.REPORTED)
    assert (row.severity, row.old_severity) == (Severity.CRITICAL, Severity.MEDIUM)
    assert (row.lat, row.long, row.media, row.assigned) == (after.lat, after.long, 1, True)
    assert (row.changed_at, row.day) == (after.updated_at, "2026-03-10")
    assert row.reporter == pseudonym("citizen-1")
    told = msgspec.json.encode(row).decode()
    for hidden in ("citizen-1", "sam@", "453 West", "V5Y", "crew 7", "bags", "media/"):
        assert hidden not in told


def test_reports_and_removals_have_one_image() -> None:
    one = incident(reported_by=None)
    new = flat_row(record(one), pseudonym)
    assert (new.event, new.old_status, new.reporter, new.expired) == ("INSERT", None, None, False)
    told = record(None, one)
    told["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    gone = flat_row(told, pseudonym)
    assert (gone.event_id, gone.status, gone.expired) == (f"{one.incident_id}.1.REMOVE", one.status, True)
    assert gone.changed_at == NOW


def without(path: str) -> dict[str, Any]:
    before = incident()
    told = json.loads(json.dumps(record(following(before), before)))
    *way, last = path.split(".")
    place = told
    for name in way:
        place = place[name]
    del place[last]
    return told


@pytest.mark.parametrize(
    "path",
    ["eventName", "dynamodb", "dynamodb.OldImage", "dynamodb.NewImage", "dynamodb.NewImage.title",
     "dynamodb.NewImage.version", "dynamodb.OldImage.status", "dynamodb.NewImage.reported_at"],
)  # fmt: skip
def test_a_record_without_something_is_poison_and_the_reason_names_it(path: str) -> None:
    with pytest.raises(PoisonRecord, match=path.rsplit(".", maxsplit=1)[-1]):
        flat_row(without(path), pseudonym)


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", {"S": "secret-word"}), ("updated_at", {"S": "secret-word"}), ("lat", {"S": "49"}),
     ("updated_at", {"S": "2026-03-09T16:30:00"}),
     ("supporters", {"N": "secret-word"}), ("supporters", {"N": "1.5"}), ("title", {"S": 12}), ("title", {"S": None}),
     ("incident_id", {"S": "secret-word"}), ("lat", {"N": "1e999x"}), ("version", {"N": "0"}), ("media", {"L": 4}),
     ("title", "secret-word"), ("title", ["secret-word"])],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_poison_and_the_reason_does_not_repeat_it(field: str, value: Any) -> None:
    told = json.loads(json.dumps(record(incident())))
    told["dynamodb"]["NewImage"][field] = value
    with pytest.raises(PoisonRecord) as poison:
        flat_row(told, pseudonym)
    assert "secret-word" not in str(poison.value)


def test_a_change_that_did_not_raise_the_version_is_poison() -> None:
    before = incident()
    with pytest.raises(PoisonRecord, match="without raising its version"):
        flat_row(record(before, before), pseudonym)


def in_kinesis(told: dict[str, Any], sequence: str = "495") -> dict[str, Any]:
    plain = {**told, "dynamodb": {name: value for name, value in told["dynamodb"].items() if name != "SequenceNumber"}}
    plain["dynamodb"]["ApproximateCreationDateTime"] = int(NOW.timestamp() * 1_000_000)
    data = base64.b64encode(json.dumps(plain).encode()).decode()
    return {"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": sequence, "data": data}}


def test_kinesis_brings_the_same_rows_under_its_own_numbers() -> None:
    before = incident()
    for told in (record(before), record(following(before), before), record(None, before)):
        direct, wrapped = delivered({"Records": [told, in_kinesis(told)]})
        assert wrapped.record is not None
        assert wrapped.identifier == "495"
        through = flat_row(wrapped.record, pseudonym)
        assert direct.record is not None
        assert msgspec.structs.replace(flat_row(direct.record, pseudonym), sequence="495") == through


@pytest.mark.parametrize(
    "data", ["%%%", "", base64.b64encode(b"no json").decode(), base64.b64encode(b"[1]").decode(), 7]
)
def test_what_kinesis_cannot_mean_is_poison_beside_the_others(data: Any) -> None:
    bad = {"kinesis": {"sequenceNumber": "7", "data": data}}
    first, second = delivered({"Records": [bad, in_kinesis(record(incident()))]})
    assert (first.identifier, first.record) == ("7", None)
    assert first.problem
    assert second.record is not None


@pytest.mark.parametrize("event", [None, {}, [], {"Records": 3}, {"Records": ["x"]}, "Records"])
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(PoisonRecord):
        list(delivered(event))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["S", "N", "L", "M", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["incident_id", "version", "status", "lat", "reported_by", "media", "updated_at", "expected_at"]
)


@given(field=FIELDS, value=JSON, image=st.sampled_from(["NewImage", "OldImage"]))
def test_whatever_an_image_holds_it_is_a_row_or_poison(field: str, value: Any, image: str) -> None:
    before = incident()
    told = json.loads(json.dumps(record(following(before), before)))
    told["dynamodb"][image][field] = value
    try:
        row = flat_row(told, pseudonym)
    except PoisonRecord:
        return
    assert msgspec.json.decode(msgspec.json.encode(row), type=Row) == row


@given(
    title=st.text(min_size=1, max_size=30),
    severity=st.sampled_from(Severity),
    status=st.sampled_from(Status),
    supporters=st.integers(0, 10**6),
    place=st.none() | st.tuples(st.integers(-900, 900), st.integers(-1_800_000_000, 1_800_000_000)),
    expected=st.none() | st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 -- given a zone below
)
def test_a_row_says_what_the_general_decoder_says(
    title: str,
    severity: Severity,
    status: Status,
    supporters: int,
    place: tuple[int, int] | None,
    expected: datetime | None,
) -> None:
    one = incident(
        title=title,
        severity=severity,
        status=status,
        supporters=supporters,
        lat=place[0] / 10 if place else None,
        long=place[1] / 10_000_000 if place else None,
        expected_at=codec.milliseconds(expected.astimezone()) if expected else None,
    )
    told = record(one)
    general = TypeDeserializer()
    item = codec.incident({name: general.deserialize(value) for name, value in told["dynamodb"]["NewImage"].items()})
    row = flat_row(told, pseudonym)
    for name in ("title", "severity", "status", "supporters", "lat", "long", "expected_at", "reported_at", "version"):
        assert getattr(row, name) == getattr(item, name)


def test_items_are_written_as_dynamodb_writes_them() -> None:
    one = incident(attributes={"depth": 1.5, "all": ("a", "b")}, media=(Media("k", "image/png", 3, moderated=True),))
    general = TypeDeserializer()
    item = codec.to_item(one)
    assert {name: general.deserialize(attribute(value)) for name, value in item.items()} == item

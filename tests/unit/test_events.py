"""The registry of events: each has its schema in the package, a source, and is refused where it is not as it says."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from city_platform.deployment.event_schemas import document
from city_platform.event_types import TYPES, schema
from city_platform.events import InvalidEvent, event_id, publish, read
from city_platform.incidents.alerts import entered_critical
from city_platform.incidents.events import IncidentBecameCritical, became_critical
from city_platform.incidents.model import Severity, Status, Visibility
from city_platform.incidents.reference import load_reference
from city_platform.incidents.stream import flat_row
from city_platform.ports import BusEvent, EventBusRefused, EventBusUnavailable
from tests.incident_stream import following, record
from tests.incidents import incident

AT = datetime(2026, 6, 1, 17, 3, tzinfo=UTC)
REFERENCE = load_reference(None, None)


@dataclass
class Bus:
    """Keeps what it is told, or answers as it is told to."""

    answer: EventBusUnavailable | EventBusRefused | None = None
    told: list[BusEvent] = field(default_factory=list)

    def publish(self, events: Sequence[BusEvent]) -> Sequence[EventBusUnavailable | EventBusRefused | None]:
        self.told += [] if self.answer else events
        return [self.answer] * len(events)


@pytest.mark.parametrize("kind", TYPES)
def test_the_schemas_in_the_package_are_those_of_the_types(kind: str) -> None:
    packaged = files("city_platform.event_types").joinpath(f"schemas/{kind}.json").read_text(encoding="utf-8")
    assert packaged == document(kind), "python -m city_platform.deployment.event_schemas TEMPLATE"
    Draft202012Validator.check_schema(json.loads(packaged))


def test_there_is_no_schema_of_what_is_not_told_and_every_source_is_the_citys() -> None:
    there = {file.name for file in files("city_platform.event_types").joinpath("schemas").iterdir()}
    assert there == {f"{kind}.json" for kind in TYPES}
    assert {kind.SOURCE for kind in TYPES.values()} == {"city.traffic", "city.incidents", "city.data"}


def critical(**changes: object) -> IncidentBecameCritical:
    one = incident(severity=Severity.CRITICAL, **changes)
    return became_critical(flat_row(record(one), str), REFERENCE, "https://x.example/1")


def test_an_event_goes_to_the_bus_as_its_schema_says_and_is_read_back() -> None:
    bus, event = Bus(), critical()
    publish(bus, event, AT)
    (told,) = bus.told
    assert (told.id, told.source, told.at) == (event.alert_id, "city.incidents", AT)
    Draft202012Validator(schema(told.detail_type)).validate(json.loads(told.detail))
    assert read(told, {"IncidentBecameCritical": IncidentBecameCritical}) == event
    with pytest.raises(InvalidEvent, match=r"city.incidents/IncidentBecameCritical is none of"):
        read(told, {})


@pytest.mark.parametrize("answer", [EventBusUnavailable("busy"), EventBusRefused("never")])
def test_what_the_bus_does_not_take_is_an_error(answer: EventBusUnavailable | EventBusRefused) -> None:
    with pytest.raises(type(answer)):
        publish(Bus(answer), critical(), AT)


def test_ids_tell_things_apart() -> None:
    assert event_id("a", "b") == event_id("a", "b") != event_id("a", "c")
    assert len(event_id("a")) == 16


def test_the_event_says_how_an_incident_became_critical() -> None:
    first = incident()
    raised = following(first, severity=Severity.CRITICAL)
    closed = following(raised, status=Status.RESOLVED)
    reopened = following(closed, status=Status.REOPENED)
    found = []
    for before, after in ((None, incident(1, severity=Severity.CRITICAL)), (first, raised), (closed, reopened)):
        row = flat_row(record(after, before), str)
        assert entered_critical(row)
        found.append(became_critical(row, REFERENCE, "x"))
    assert [(one.became, one.from_) for one in found] == [
        ("reported", None),
        ("raised", Severity.MEDIUM),
        ("reopened", Severity.CRITICAL),
    ]
    assert len({one.alert_id for one in found}) == 3
    assert found[1] == became_critical(flat_row(record(raised, first, 99), str), REFERENCE, "x")


def test_the_place_of_what_is_private_or_sensitive_is_not_told() -> None:
    sensitive = next(name for name, one in REFERENCE.categories.items() if one.sensitive)
    assert critical().lat is not None
    for one in (critical(visibility=Visibility.PRIVATE), critical(category=sensitive)):
        assert (one.lat, one.long) == (None, None)
        assert one.district


def test_nothing_a_reporter_wrote_is_told() -> None:
    told = critical(title="canary", description="canary", address="canary", reported_by="canary", assigned_to="canary")
    bus = Bus()
    publish(bus, told, AT)
    assert "canary" not in bus.told[0].detail

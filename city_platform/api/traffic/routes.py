"""`/traffic/v1`: the map, zones, sensors, history and health, for programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from city_platform.api.answers import answers
from city_platform.api.conditional import unchanged
from city_platform.api.incidents import Who, unknown_parameters
from city_platform.api.problems import Problem
from city_platform.api.traffic import documents
from city_platform.api.traffic.answers import (
    SensorNowAnswer,
    TrafficHealthAnswer,
    TrafficHistoryAnswer,
    TrafficMap,
    ZoneAnswer,
)
from city_platform.api.traffic.live import Answer, City, Live
from city_platform.incidents.report import Fault, InvalidRequest
from city_platform.traffic.history import CorrectedHours, History, Resolution, Road, faults, read_history
from city_platform.traffic.hour_sums import HOUR_MS
from city_platform.traffic.zone_detail import SensorNow, keys_of, latest

PREFIX = "/traffic/v1"
ZoneId = Annotated[str, Path(max_length=20, examples=["z-031"])]
SensorId = Annotated[str, Path(max_length=20, examples=["s-04211"])]
From = Annotated[str | None, Query(alias="from", description="RFC 3339; an hour before `to` where it is left out")]
To = Annotated[str | None, Query(alias="to", description="RFC 3339; now where it is left out")]
Steps = Annotated[str, Query(alias="resolution", description=f"How long steps are: {', '.join(Resolution)}")]
Format = Annotated[str, Query(alias="format", description="json or csv")]
_OF_HISTORY = {"from", "to", "resolution", "format"}
_FORMATS = {"json": "application/json", "csv": "text/csv; charset=utf-8"}
_CSV = {"text/csv": {"schema": {"type": "string"}}}
_ETAG = {"ETag": {"description": "For If-None-Match", "schema": {"type": "string"}}}
# There is no traffic before or after, and at the ends of what can be written no calendar.
_FIRST_YEAR, _LAST_YEAR = 2000, 2200


@dataclass(frozen=True, slots=True)
class Traffic:
    """The live city, and what the lake has of it; as resources."""

    live: Live
    hours: CorrectedHours
    timezone: ZoneInfo  # whose days are the steps of a day

    def map(self, request: Request, _: Who) -> Response:
        """Read at most once a second, in at most 16 queries, for all who ask; each zone with the age of its data."""
        _none_but(request)
        city = self.live.city()
        answer = city.answer("map", lambda: msgspec.json.encode(documents.map_of(city)))
        return respond(request, answer, "application/geo+json")

    def zone(self, request: Request, zone: ZoneId, _: Who) -> Response:
        """Its sensors with the latest of their readings in the last minute."""
        _none_but(request)
        city = self.live.city()
        place = city.roads.registry.zone_index.get(zone)
        if place is None:
            return _not_found(request, f"there is no zone {zone}")

        def made() -> bytes:
            return msgspec.json.encode(documents.zone_of(city, place, self.latest(city, place)))

        return respond(request, city.answer(f"zone {zone}", made))

    def sensor(self, request: Request, sensor: SensorId, _: Who) -> Response:
        """The latest of its readings in the last minute."""
        _none_but(request)
        city = self.live.city()
        registry = city.roads.registry
        index = registry.sensor_index.get(sensor)
        if index is None:
            return _not_found(request, f"there is no sensor {sensor}")

        def made() -> bytes:
            found = documents.sensor_of(city, index, self.latest(city, int(registry.zone[index])))
            return msgspec.json.encode({"at": documents.moment(city.at_ms), "sensor": found})

        return respond(request, city.answer(f"sensor {sensor}", made))

    def history(
        self,
        request: Request,
        zone: ZoneId,
        _: Who,
        start: From = None,
        end: To = None,
        steps: Steps = Resolution.MINUTE,
        form: Format = "json",
    ) -> Response:
        """An hour comes from the lake once it was corrected there, until then from the live windows: never from both.

        At most 1,500 steps at once, and of steps below an hour 24 hours, of hours 62 days, of days (the city's own) 184
        of them. Steps of which nothing is kept are left out.
        """
        wrong = unknown_parameters(request, _OF_HISTORY, "there are from, to, resolution and format")
        city = self.live.city()
        place = city.roads.registry.zone_index.get(zone)
        if place is None:
            return _not_found(request, f"there is no zone {zone}")
        end_ms = _epoch_ms("to", end, city.at_ms, wrong)
        start_ms = _epoch_ms("from", start, end_ms - HOUR_MS, wrong)
        if steps not in set(Resolution):
            wrong.append(Fault("resolution", "choice", f"give one of {', '.join(Resolution)}"))
        if form not in _FORMATS:
            wrong.append(Fault("format", "choice", f"give one of {', '.join(_FORMATS)}"))
        named = {fault.field for fault in wrong}
        resolution = Resolution.MINUTE if "resolution" in named else Resolution(steps)
        ranged = faults(start_ms, end_ms, resolution)
        wrong += [Fault(name, "range", said) for name, said in ranged.items() if name not in named]
        if wrong:
            raise InvalidRequest(wrong)

        def made() -> bytes:
            history = self.past(city, place, start_ms, end_ms, resolution)
            if form == "csv":
                return documents.history_csv(history)
            return msgspec.json.encode(documents.history_of(history))

        answer = city.answer(f"history {zone} {start_ms} {end_ms} {resolution} {form}", made)
        return respond(request, answer, _FORMATS[form])

    def health(self, request: Request, _: Who) -> Response:
        """Says so where data are old, nothing was heard, or no traffic runs here."""
        _none_but(request)
        city = self.live.city()
        return respond(request, city.answer("health", lambda: msgspec.json.encode(documents.health_of(city))))

    def latest(self, city: City, place: int) -> Mapping[int, SensorNow]:
        """The latest readings of a zone's sensors. Raises StateUnavailable."""
        state = self.live.state()
        if state is None:
            return {}
        keys = keys_of(city.roads.registry.zones[place], city.at_ms)
        return latest(list(state.get(keys).values()))

    def past(self, city: City, place: int, start_ms: int, end_ms: int, resolution: Resolution) -> History:
        """Raises StateUnavailable, StoreUnavailable; ValueError for a range that `faults` would refuse."""
        return read_history(
            city.roads.registry.zones[place],
            start_ms,
            end_ms,
            resolution,
            state=self.live.state(),
            hours=self.hours,
            now_ms=city.at_ms,
            road=Road(city.free_flow_x10(place), int(self.live.expected[place])),
            timezone=self.timezone,
        )


def router(traffic: Traffic) -> APIRouter:
    """The resources at their addresses."""
    routes = APIRouter(prefix=PREFIX, tags=["traffic"])
    geojson = {"application/geo+json": {"schema": {"$ref": f"#/components/schemas/{TrafficMap.__name__}"}}}
    for path, summary, endpoint, answered in (
        ("/map.geojson", "Every zone's traffic now", traffic.map, _answers(None, "GeoJSON", content=geojson)),
        ("/zones/{zone}", "A zone now, with its sensors", traffic.zone, _answers(ZoneAnswer, "As it is now", 404)),
        ("/sensors/{sensor}", "A sensor now", traffic.sensor, _answers(SensorNowAnswer, "As it is now", 404)),
        (
            "/zones/{zone}/history",
            "A zone's past",
            traffic.history,
            _answers(TrafficHistoryAnswer, "Steps in order", 404, content=_CSV),
        ),
        ("/health", "Whether traffic is seen", traffic.health, _answers(TrafficHealthAnswer, "How old, how complete")),
    ):
        routes.get(path, summary=summary, **answered)(endpoint)
    return routes


def respond(
    request: Request, answer: Answer, media_type: str = "application/json", more: Mapping[str, str] | None = None
) -> Response:
    """The answer, packed for who takes gzip; 304 for who has it."""
    headers = {"ETag": answer.etag, "Cache-Control": "public, max-age=1", "Vary": "Accept-Encoding", **(more or {})}
    if unchanged(request, answer.etag):
        return Response(status_code=304, headers=headers)
    if answer.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(answer.packed, 200, headers | {"Content-Encoding": "gzip"}, media_type)
    return Response(answer.body, 200, headers, media_type)


def _answers(model: type[BaseModel] | None, said: str, *problems: int, **more: Any) -> dict[str, Any]:
    """As `answers`, of what may not have changed since a client read it."""
    told = answers(200, model, said, 400, *problems, headers=_ETAG, **more)
    told["responses"][304] = {"description": "It is as the client has it", "headers": _ETAG}
    return told


def _not_found(request: Request, detail: str) -> Response:
    return Problem(404, "not-found", detail).response(request.state.request_id)


def _none_but(request: Request) -> None:
    if wrong := unknown_parameters(request, set(), "this address takes none"):
        raise InvalidRequest(wrong)


def _epoch_ms(name: str, said: str | None, otherwise: int, wrong: list[Fault]) -> int:
    """A time as epoch milliseconds; what is none is added to `wrong`."""
    if said is None:
        return otherwise
    try:
        time = datetime.fromisoformat(said)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not _FIRST_YEAR < time.year < _LAST_YEAR:
        remedy = "write a time as RFC 3339 with its offset, such as 2026-06-01T10:03:20-07:00 (a + as %2B)"
        wrong.append(Fault(name, "time", remedy))
        return otherwise
    return round(time.timestamp() * 1000)

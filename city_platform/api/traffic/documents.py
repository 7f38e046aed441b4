"""The answers' content, as plain values: GeoJSON of the map, a zone, a sensor, health."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from city_platform.api.traffic.live import City
from city_platform.incidents.codec import rfc3339
from city_platform.traffic.heat_map import ZoneNow
from city_platform.traffic.history import History, Source, Step
from city_platform.traffic.hour_sums import HOUR_MS, LevelMinutes
from city_platform.traffic.registry import sensor_id
from city_platform.traffic.roads import Roads
from city_platform.traffic.zone_detail import SensorNow

_MINUTES = "minutes"
_STEP_COLUMNS = (
    "start", "end", "source", "revision", "windows", "readings", "vehicles", "speed_kmh", "index", "tti", "service",
    "occupancy", "coverage", _MINUTES,
)  # fmt: skip
_DIGITS = 6  # of a coordinate: a tenth of a metre


def moment(epoch_ms: int | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if epoch_ms is None else rfc3339(datetime.fromtimestamp(epoch_ms / 1000, UTC))


def map_of(city: City) -> Mapping[str, Any]:
    """Every zone of the registry, those of which nothing was heard too."""
    return {
        "type": "FeatureCollection",
        "at": moment(city.at_ms),
        "status": city.status,
        "coverage": round(city.coverage, 3),
        "age_s": _rounded(city.age_s),
        "features": [
            {
                "type": "Feature",
                "id": name,
                "geometry": geometry(city.roads, place),
                "properties": figures(city, place),
            }
            for place, name in enumerate(city.roads.registry.zones)
        ],
    }


def geometry(roads: Roads, place: int) -> Mapping[str, Any]:
    ring = [[round(one, _DIGITS) for one in point] for point in roads.ring(place)]
    return {"type": "Polygon", "coordinates": [ring]}


def figures(city: City, place: int) -> Mapping[str, Any]:
    """A zone's figures, by its place in the registry."""
    roads = city.roads
    name = roads.registry.zones[place]
    own = roads.registry.sensors(place)
    one = city.by_zone.get(name)
    said: dict[str, Any] = {"zone": name, "sensors": own.stop - own.start}
    if one is None:
        nothing = dict.fromkeys((
            "level", "service", "speed_kmh", "index", "tti", "vehicles_per_hour", "age_s", "measured_at",
            "window_start", "level_since",
        ))  # fmt: skip
        free_flow = city.free_flow_x10(place) / 10
        return said | nothing | {
            "free_flow_kmh": free_flow, "coverage": 0.0, "old": True, "final": False,
        }  # fmt: skip
    told = one.figures
    return said | {
        "level": one.level,
        "level_since": moment(one.since_ms or None),
        "service": told.service if one.known else None,
        "speed_kmh": _rounded(told.speed_kmh),
        "free_flow_kmh": told.free_flow_x10 / 10,
        "index": told.index,
        "tti": told.tti,
        "vehicles_per_hour": one.vehicles_per_hour,
        "coverage": round(told.coverage, 3),
        "age_s": _rounded(one.age_s(city.at_ms)),
        "old": one.old(city.at_ms),
        "measured_at": moment(one.measured_ms),
        "window_start": moment(one.start_ms),
        "final": one.final,
    }


def zone_of(city: City, place: int, latest: Mapping[int, SensorNow]) -> Mapping[str, Any]:
    """A zone with its sensors."""
    own = city.roads.registry.sensors(place)
    return {
        "at": moment(city.at_ms),
        "zone": figures(city, place),
        "geometry": geometry(city.roads, place),
        "sensors": [sensor_of(city, index, latest) for index in range(own.start, own.stop)],
    }


def sensor_of(city: City, index: int, latest: Mapping[int, SensorNow]) -> Mapping[str, Any]:
    """A sensor by its index, with the latest reading of its number."""
    roads = city.roads
    registry, segment = roads.registry, int(roads.sensor_segment[index])
    long, lat = (round(one, _DIGITS) for one in roads.position(index))
    number = int(registry.number[index])
    read = latest.get(number)
    return {
        "sensor": sensor_id(number),
        "zone": registry.zones[int(registry.zone[index])],
        "segment": roads.segment_id(segment),
        "long": long,
        "lat": lat,
        "interval_s": int(registry.interval_s[index]),
        "posted_kmh": int(roads.posted_kmh[segment]),
        "lanes": int(roads.lanes[segment]),
        "heard": read is not None,
        "measured_at": moment(read.measured_ms) if read else None,
        "age_s": max(0.0, round((city.at_ms - read.measured_ms) / 1000, 1)) if read else None,
        "vehicles": read.vehicles if read else None,
        "speed_kmh": _unit(read.speed_x10, 10) if read else None,
        "occupancy": _unit(read.occupancy_x1000, 1000) if read else None,
        "index": _unit(read.index_x1000, 1000) if read else None,
    }


def history_of(history: History) -> Mapping[str, Any]:
    """A zone's steps, and where each hour was read."""
    return {
        "zone": history.zone,
        "start": moment(history.start_ms),
        "end": moment(history.end_ms),
        "resolution": history.resolution,
        "free_flow_kmh": history.free_flow_x10 / 10,
        "steps": [_step(one) for one in history.steps],
        "sources": _spans(history.sources),
    }


def history_csv(history: History) -> bytes:
    """The steps as RFC 4180, UTF-8, header first; what is not known is empty."""
    told = [_step(one) for one in history.steps]
    minutes = LevelMinutes.__struct_fields__
    names = [name for name in _STEP_COLUMNS if name != _MINUTES]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["zone", *names, *(f"{level}_{_MINUTES}" for level in minutes)])
    for one in told:
        counts = one[_MINUTES] or {}
        writer.writerow([history.zone, *(one[name] for name in names), *(counts.get(level) for level in minutes)])
    return text.getvalue().encode()


def _spans(sources: Mapping[int, Source]) -> list[Mapping[str, Any]]:
    """The hours of one source that follow each other as one span of time."""
    found: list[tuple[int, int, Source]] = []
    for hour, source in sources.items():
        if found and found[-1][1:] == (hour, source):
            found[-1] = (found[-1][0], hour + HOUR_MS, source)
        else:
            found.append((hour, hour + HOUR_MS, source))
    return [{"start": moment(first), "end": moment(last), "source": source} for first, last, source in found]


def health_of(city: City) -> Mapping[str, Any]:
    """Whether traffic is seen, and how much of it."""
    live: Sequence[ZoneNow] = [one for one in city.zones if not one.old(city.at_ms)]
    return {
        "status": city.status,
        "failing": city.failing,
        "at": moment(city.at_ms),
        "age_s": _rounded(city.age_s),
        "coverage": round(city.coverage, 3),
        "zones": len(city.roads.registry.zones),
        "zones_live": len(live),
        "zones_known": sum(one.known for one in live),
    }


def _step(one: Step) -> Mapping[str, Any]:
    return {
        "start": moment(one.start_ms),
        "end": moment(one.end_ms),
        "source": one.source,
        "revision": one.revision,
        "windows": one.windows,
        "readings": one.readings,
        "vehicles": one.figures.vehicles,
        "speed_kmh": _rounded(one.figures.speed_kmh),
        "index": one.figures.index,
        "tti": one.figures.tti,
        "service": one.figures.service,
        "occupancy": None if one.occupancy is None else round(one.occupancy, 3),
        "coverage": round(one.figures.coverage, 3),
        _MINUTES: None if one.minutes is None else msgspec.structs.asdict(one.minutes),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _unit(value: int, parts: int) -> float | None:
    return None if value < 0 else value / parts

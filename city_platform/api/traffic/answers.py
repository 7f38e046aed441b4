"""What the traffic API answers, as its OpenAPI description tells it."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from city_platform.incidents.views import Moment

LevelName = Literal["normal", "slow", "congested", "severe"]
ServiceName = Literal["A", "B", "C", "D", "E", "F"]
StatusName = Annotated[
    Literal["live", "old", "empty", "none"],
    Field(
        description="old: nothing new for 30 s; empty: nothing heard in the last minutes; none: no traffic runs here"
    ),
]


class ZoneFigures(BaseModel):
    """A zone now. What is not known is null: `level` where fewer than half of the sensors or 5 vehicles were heard."""

    zone: str
    level: LevelName | None
    level_since: Annotated[
        Moment | None,
        Field(description="Since when it was decided to be so; null where it is the band of the index alone"),
    ]
    service: Annotated[ServiceName | None, Field(description="Level of service, by speed over free flow")]
    speed_kmh: Annotated[float | None, Field(description="Harmonic mean of the vehicles")]
    free_flow_kmh: float
    index: Annotated[float | None, Field(description="100 * (1 - speed / free flow), 0..100")]
    tti: Annotated[float | None, Field(description="Travel time index: travel time over that at free flow")]
    vehicles_per_hour: Annotated[int | None, Field(description="At all sensors of the zone together")]
    coverage: Annotated[float, Field(description="Share of the sensors that were heard in the window, 0..1")]
    sensors: Annotated[int, Field(description="How many stand in the zone")]
    age_s: Annotated[float | None, Field(description="Seconds since the newest reading was measured")]
    old: Annotated[bool, Field(description="Not heard for more than 30 s")]
    measured_at: Moment | None
    window_start: Moment | None
    final: Annotated[bool, Field(description="False while the window still takes readings on time")]


class PolygonAnswer(BaseModel):
    type: Literal["Polygon"]
    coordinates: Annotated[list[list[list[float]]], Field(description="Rings of longitude, latitude; WGS 84")]


class ZoneFeature(BaseModel):
    type: Literal["Feature"]
    id: str
    geometry: PolygonAnswer
    properties: ZoneFigures


class TrafficMap(BaseModel):
    """GeoJSON (RFC 7946): every zone of the city."""

    type: Literal["FeatureCollection"]
    at: Moment
    status: StatusName
    coverage: Annotated[float, Field(description="Share of the city's sensors heard within 30 s, 0..1")]
    age_s: Annotated[float | None, Field(description="Seconds since the newest reading of the city was measured")]
    features: list[ZoneFeature]


class SensorAnswer(BaseModel):
    """A sensor and the latest of its readings in the last minute; null where there is none."""

    sensor: str
    zone: str
    segment: str
    long: float
    lat: float
    interval_s: int
    posted_kmh: int
    lanes: int
    heard: bool
    measured_at: Moment | None
    age_s: float | None
    vehicles: int | None
    speed_kmh: float | None
    occupancy: Annotated[float | None, Field(description="0..1")]
    index: Annotated[float | None, Field(description="As the sensor says it, 0..1")]


class ZoneAnswer(BaseModel):
    at: Moment
    zone: ZoneFigures
    geometry: PolygonAnswer
    sensors: list[SensorAnswer]


class SensorNowAnswer(BaseModel):
    at: Moment
    sensor: SensorAnswer


class MinutesAnswer(BaseModel):
    """How many minutes were at each level, by the band of their index; unknown where too little was heard."""

    normal: int
    slow: int
    congested: int
    severe: int
    unknown: int


class StepAnswer(BaseModel):
    """One step of a zone's history; a step of which nothing is kept is left out."""

    start: Moment
    end: Moment
    source: Annotated[
        Literal["state", "lake", "mixed"],
        Field(description="lake: corrected, with the readings that came late; mixed: a day of which some hours are"),
    ]
    revision: Annotated[str | None, Field(description="Version of the corrected hour, to trace its figures by")]
    windows: Annotated[int, Field(description="Windows of 10 s in which anything was heard")]
    readings: int
    vehicles: int
    speed_kmh: float | None
    index: float | None
    tti: float | None
    service: ServiceName | None
    occupancy: Annotated[float | None, Field(description="Mean of the readings, 0..1")]
    coverage: Annotated[float, Field(description="Share of the sensors' tens of seconds that were heard, 0..1")]
    minutes: Annotated[MinutesAnswer | None, Field(description="Of steps of an hour or a day")]


class SourceAnswer(BaseModel):
    """Where the hours of UTC in a span were read: lake, state, or gone (no longer in the state, never in the lake)."""

    start: Moment
    end: Moment
    source: Literal["lake", "state", "gone"]


class TrafficHistoryAnswer(BaseModel):
    zone: str
    start: Moment
    end: Moment
    resolution: Literal["10s", "60s", "300s", "900s", "hour", "day"]
    free_flow_kmh: float
    steps: list[StepAnswer]
    sources: list[SourceAnswer]


class TrafficHealthAnswer(BaseModel):
    status: StatusName
    failing: Annotated[bool, Field(description="The state did not answer; what is shown was read before")]
    at: Moment
    age_s: float | None
    coverage: float
    zones: int
    zones_live: Annotated[int, Field(description="Zones heard within 30 s")]
    zones_known: Annotated[int, Field(description="Zones of those with enough sensors and vehicles to say a level")]

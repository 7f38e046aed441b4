"""The table of routes: which channels hear of an event at a time, and in which words. Nothing here sends anything."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib.resources import files
from string import Formatter
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from city_platform.errors import PermanentError
from city_platform.traffic.congestion import Level
from city_platform.traffic.events import (
    TYPES,
    CongestionLevelChanged,
    Links,
    PlatformIngestDegraded,
    SensorHealthChanged,
    Told,
    ZoneCoverageLost,
)

CITY = "city"  # the zone of what concerns all of them
_DAY_MINUTES = 1440
Name = Annotated[str, Field(min_length=1, max_length=100)]
Words = Annotated[str, Field(min_length=1, max_length=2000)]
Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class BadRoutes(PermanentError):
    """The table of routes cannot be used; the message holds every mistake."""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Channel(StrEnum):
    EMAIL = "email"
    SLACK = "slack"
    SMS = "sms"


_SEVERITIES = tuple(Severity)
_OF_LEVEL = {Level.SLOW: Severity.INFO, Level.CONGESTED: Severity.WARNING, Level.SEVERE: Severity.CRITICAL}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Hours(_Strict):
    hours: str = "00:00-24:00"
    days: tuple[Day, ...] = _DAYS

    @field_validator("hours")
    @classmethod
    def _are_two_times(cls, said: str) -> str:
        _span(said)
        return said

    def hold(self, local: datetime) -> bool:
        """Whether a local time is within them. Hours over midnight belong to the day they begin on."""
        begin, end = _span(self.hours)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if begin < end:
            return begin <= minute < end and _DAYS[day] in self.days
        if minute >= begin:
            return _DAYS[day] in self.days
        return minute < end and _DAYS[day - 1] in self.days


class Route(_Hours):
    """Which events go to some channels."""

    name: Name
    severity: Severity = Severity.INFO
    zones: tuple[Name, ...] = ("*",)
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]


class QuietHours(_Hours):
    """When some channels are left alone by all that is below a severity."""

    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    below: Severity


class Text(_Strict):
    """What is said of an event; names in braces stand for what it holds."""

    subject: Words
    body: Words
    short: Words


class Texts(_Strict):
    up: Text
    down: Text


class Routes(_Strict):
    """The whole table, checked."""

    version: Literal[1]
    timezone: str
    repeat_minutes: Annotated[int, Field(ge=0, le=_DAY_MINUTES)]
    stale_minutes: Annotated[int, Field(ge=1, le=_DAY_MINUTES)]
    routes: Annotated[tuple[Route, ...], Field(max_length=500)]
    quiet_hours: Annotated[tuple[QuietHours, ...], Field(max_length=100)] = ()
    texts: Mapping[str, Texts]

    @field_validator("timezone")
    @classmethod
    def _is_a_timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f"there is no time zone {name!r}") from error
        return name

    @field_validator("texts")
    @classmethod
    def _say_what_events_hold(cls, given: Mapping[str, Texts]) -> Mapping[str, Texts]:
        wrong = [f"{kind} is missing" for kind in TYPES if kind not in given]
        wrong += [f"{kind} is no event of traffic" for kind in given if kind not in TYPES]
        for kind in TYPES.keys() & given.keys():
            for direction, text in (("up", given[kind].up), ("down", given[kind].down)):
                for part, words in text:
                    wrong += [f"{kind}.{direction}.{part}: {problem}" for problem in _mistakes(kind, words)]
        if wrong:
            raise ValueError("; ".join(sorted(wrong)))
        return given

    @property
    def channels(self) -> Sequence[Channel]:
        """Every channel that some route uses."""
        return [channel for channel in Channel if any(channel in route.channels for route in self.routes)]

    def without(self, channel: Channel) -> "Routes":
        """The table where nobody is told on a channel; routes that had no other are left out."""

        def others(one: Route | QuietHours) -> tuple[Channel, ...]:
            return tuple(each for each in one.channels if each is not channel)

        routes = tuple(one.model_copy(update={"channels": others(one)}) for one in self.routes if others(one))
        quiet = tuple(one.model_copy(update={"channels": others(one)}) for one in self.quiet_hours if others(one))
        return self.model_copy(update={"routes": routes, "quiet_hours": quiet})

    def goes_to(self, channel: Channel, told: Told, now: datetime) -> bool:
        """Whether an event goes to a channel, told at this time."""
        local, reached = now.astimezone(ZoneInfo(self.timezone)), _SEVERITIES.index(severity(told))
        zone = zone_of(told)
        return any(
            channel in route.channels
            and reached >= _SEVERITIES.index(route.severity)
            and any(fnmatchcase(zone, pattern) for pattern in route.zones)
            and route.hold(local)
            for route in self.routes
        )

    def is_quiet(self, channel: Channel, told: Told, now: datetime) -> bool:
        """Whether the channel is to be left alone by such an event at this time."""
        local, reached = now.astimezone(ZoneInfo(self.timezone)), _SEVERITIES.index(severity(told))
        return any(
            channel in quiet.channels and reached < _SEVERITIES.index(quiet.below) and quiet.hold(local)
            for quiet in self.quiet_hours
        )

    def text(self, told: Told) -> Text:
        """What is said of an event, times in the city's clock."""
        texts = self.texts[type(told).__name__]
        text = texts.up if told.direction == "up" else texts.down
        values = _values(told, ZoneInfo(self.timezone))
        return Text(**{part: words.format_map(values).strip() for part, words in text})


def load_routes(text: str | None = None, name: str = "the packaged routes") -> Routes:
    """The table in YAML, that of the package unless given. Raises BadRoutes with every mistake."""
    try:
        document = yaml.safe_load(packaged() if text is None else text)
        return Routes.model_validate(document)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise BadRoutes(f"{name}: {found}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise BadRoutes(f"{name} is no YAML: {error}") from error


def packaged() -> str:
    """The table that comes with the package, to begin one's own with."""
    return files(__package__).joinpath("routes.yaml").read_text(encoding="utf-8")


def severity(told: Told) -> Severity:
    """How much an event matters; the end of something as much as what ends."""
    match told:
        case CongestionLevelChanged():
            return _OF_LEVEL.get(told.to if told.direction == "up" else told.from_, Severity.INFO)
        case PlatformIngestDegraded():
            return Severity.CRITICAL
        case ZoneCoverageLost():
            return Severity.WARNING
        case SensorHealthChanged():
            return Severity.INFO


def zone_of(told: Told) -> str:
    return CITY if isinstance(told, PlatformIngestDegraded) else told.zone_id


_RENAMED = {"zone_id": "zone", "sensor_id": "sensor", "window_start": "start", "window_end": "end",
            "detected_at": "detected", "last_heard": "heard", "duration_s": "duration", "links": "link"}  # fmt: skip
_LEFT_OUT = {"schema", "trace", "withheld"}


def _names(kind: str) -> Mapping[str, str]:
    """What texts may say of a kind of event, by the field it is of."""
    fields = [one.encode_name for one in msgspec.structs.fields(TYPES[kind]) if one.encode_name not in _LEFT_OUT]
    return {_RENAMED.get(field, field): field for field in fields}


def _values(told: Told, timezone: ZoneInfo) -> Mapping[str, str]:
    fields = {one.encode_name: getattr(told, one.name) for one in msgspec.structs.fields(told)}
    return {name: _said(field, fields[field], timezone) for name, field in _names(type(told).__name__).items()}


def _said(field: str, value: object, timezone: ZoneInfo) -> str:
    match field, value:
        case _, datetime():
            said = value.astimezone(timezone).strftime("%Y-%m-%d %H:%M %Z")
        case "links", Links():
            said = value.dashboard
        case "duration_s", int():
            said = _duration(value)
        case "known", tuple():
            said = " ".join(
                f"Known: incident {one.public_ref}, until {_said('', one.until, timezone)}." for one in value
            )
        case "coverage", float():
            said = f"{value:.0%}"
        case "tti", float():
            said = f"{value:.1f}"
        case _, list():
            said = ", ".join(map(str, value)) or "none"
        case _, None:
            said = "some time"
        case _:
            said = str(value).replace("_", " ")
    return said


def _duration(seconds: int) -> str:
    minutes = round(seconds / 60)
    if minutes < 60:  # noqa: PLR2004 -- an hour
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _mistakes(kind: str, words: str) -> list[str]:
    """What is wrong with a text: braces that do not match, names the event has not."""
    known = _names(kind)
    try:
        parts = list(Formatter().parse(words))
    except ValueError as error:
        return [str(error)]
    named = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    return [
        f"{{{name}}} is none of: {', '.join(sorted(known))}"
        for name, spec, conversion in named
        if name not in known or spec or conversion
    ]


def _span(said: str) -> tuple[int, int]:
    """`05:00-22:00` as minutes of the day, the end not included; over midnight the end is the smaller one."""
    begin, _, end = said.partition("-")
    found = []
    for part in (begin, end):
        hour, _, minute = part.partition(":")
        whole = len(part) == len("00:00") and hour.isdecimal() and minute.isdecimal()
        if not (whole and int(minute) < 60 and int(hour) * 60 + int(minute) <= _DAY_MINUTES):  # noqa: PLR2004 minutes
            raise ValueError(f"{said!r} are no hours such as 05:00-22:00")
        found.append(int(hour) * 60 + int(minute))
    if found[0] == found[1]:
        raise ValueError(f"{said!r} has no minute in it; the whole day is 00:00-24:00")
    return found[0], found[1]

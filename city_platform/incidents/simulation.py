"""Incidents as a city has them: where, of what kind, at which hour, some reported twice, some wrongly written.

Everything follows from the seed. The same rhythm that `arrivals` draws single reports from gives `expected_reports`,
the mean number of a district and category in an hour, so that made-up history and live reports agree.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from city_platform.incidents.reference import METRES_PER_DEGREE, AttributeType, Reference, cosine

SATURDAY = 5
WEEK_HOURS = 7 * 24
DUPLICATES, BAD, ANONYMOUS = 0.08, 0.04, 0.25  # shares of all reports
_REMEMBERED = 500  # earlier reports that another citizen may report again
_NEAR_METRES = 15.0
_SPREAD_DEGREES = 0.006  # about 650 m: how far from its centre a district's reports lie
_TRIES = 50
# When people report: by hour of a working day and of a weekend's.
_WORKING = (2, 1, 1, 1, 1, 2, 5, 9, 12, 13, 13, 12, 11, 11, 11, 12, 12, 11, 9, 8, 7, 6, 4, 3)
_WEEKEND = (3, 2, 2, 1, 1, 1, 2, 4, 6, 8, 9, 9, 9, 8, 8, 8, 7, 7, 7, 6, 5, 5, 4, 4)
_NIGHT = (6, 6, 5, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7)
# Share of the reports of a week; the rest of the categories share what is left. Noise comes at night.
_SHARES = {
    "waste": 22, "road_damage": 14, "graffiti": 11, "street_light": 9, "parking": 9, "noise": 8, "tree_vegetation": 7,
    "water_sewer": 5, "traffic_signal": 3, "animal": 3, "public_safety": 2, "building": 2,
}  # fmt: skip
_RARE = 2
_AT_NIGHT = {"noise", "public_safety"}
_BUSY = 0.8  # the busiest district has e^(2 x this) times the reports of the quietest
_TITLES: Mapping[str, Sequence[str]] = {
    "road_damage": ("Pothole in the bicycle lane", "Sunken road surface", "Long crack across the lane"),
    "street_light": ("Street light is out", "Lamp flickers all night"),
    "graffiti": ("Graffiti on the underpass", "Tags on the park bench"),
    "waste": ("Mattress left in the lane", "Overflowing bin", "Collection missed"),
    "noise": ("Construction noise before seven", "Loud music every night"),
    "parking": ("Car blocks the crossing", "Meter takes no coins"),
}


@dataclass(frozen=True, slots=True)
class SimulatedReport:
    """A report to send `after` seconds from the start. `wrong` names the field that must be refused; '' for a good one.

    `citizen` numbers the person who reports; None is anonymous.
    """

    after: float
    payload: Mapping[str, Any]
    citizen: int | None
    duplicate: bool = False
    wrong: str = ""


@dataclass(frozen=True)
class Rhythm:
    """How many reports a district and category bring in each hour of the week, as shares of a mean hour's."""

    reference: Reference

    @cached_property
    def categories(self) -> Mapping[str, float]:
        """The share of all reports, by category."""
        known = {code: float(_SHARES.get(code, _RARE)) for code in self.reference.categories}
        total = sum(known.values())
        return {code: share / total for code, share in known.items()}

    @cached_property
    def districts(self) -> Mapping[str, float]:
        """The share of all reports, by district: alike in every run, whatever the seed."""
        weights = {code: math.exp(random.Random(code).uniform(-_BUSY, _BUSY)) for code in self.reference.districts}  # noqa: S311 -- not a secret
        total = sum(weights.values())
        return {code: weight / total for code, weight in weights.items()}

    def intensity(self, category: str, local: datetime) -> float:
        """How much busier this hour is than a mean one; the mean over a week is 1."""
        weekend = local.weekday() >= SATURDAY
        hours = _NIGHT if category in _AT_NIGHT else _WEEKEND if weekend else _WORKING
        return hours[local.hour] / self._means[category in _AT_NIGHT]

    @cached_property
    def _means(self) -> Mapping[bool, float]:
        return {False: (5 * sum(_WORKING) + 2 * sum(_WEEKEND)) / WEEK_HOURS, True: sum(_NIGHT) / len(_NIGHT)}

    @cached_property
    def peak(self) -> float:
        """The highest intensity there is."""
        return max(max(_WORKING) / self._means[False], max(_NIGHT) / self._means[True])

    def expected_reports(self, district: str, category: str, local: datetime, mean_per_hour: float) -> float:
        """The mean number of reports in that hour where the whole city has `mean_per_hour` over a week."""
        share = self.districts[district] * self.categories[category]
        return mean_per_hour * share * self.intensity(category, local)


def arrivals(
    reference: Reference,
    *,
    rate: float,
    seconds: float,
    clock: Callable[[float], datetime],
    seed: int,
) -> Iterator[SimulatedReport]:
    """Reports at `rate` a second on average over a week, in the order of their time, for so many seconds.

    `clock` maps the seconds since the start to the time whose rhythm counts: a run of a minute may stand for a week.
    Arrivals are a Poisson process whose intensity follows the rhythm (by thinning).
    """
    rng = random.Random(seed)  # noqa: S311 -- not a secret
    rhythm = Rhythm(reference)
    codes, shares = list(rhythm.categories), list(rhythm.categories.values())
    recent: deque[Mapping[str, Any]] = deque(maxlen=_REMEMBERED)
    at = 0.0
    while True:
        at += rng.expovariate(rate * rhythm.peak)
        if at >= seconds:
            return
        local = clock(at).astimezone(reference.zone)
        category = rng.choices(codes, shares)[0]
        if rng.random() * rhythm.peak >= rhythm.intensity(category, local):
            continue
        yield _report(rng, rhythm, category, at, recent)


def _report(
    rng: random.Random, rhythm: Rhythm, category: str, at: float, recent: deque[Mapping[str, Any]]
) -> SimulatedReport:
    citizen = None if rng.random() < ANONYMOUS else rng.randrange(1, 5_000)
    kind = rng.random()
    if kind < BAD:
        return _spoilt(rng, at, _good(rng, rhythm, category), citizen)
    if kind < BAD + DUPLICATES and recent:
        return SimulatedReport(at, _again(rng, rng.choice(recent), rhythm.reference), citizen, duplicate=True)
    payload = _good(rng, rhythm, category)
    recent.append(payload)
    return SimulatedReport(at, payload, citizen)


def _good(rng: random.Random, rhythm: Rhythm, category: str) -> dict[str, Any]:
    reference = rhythm.reference
    lat, long = _place(rng, reference, rng.choices(list(rhythm.districts), list(rhythm.districts.values()))[0])
    titles = _TITLES.get(category) or (reference.categories[category].name,)
    payload: dict[str, Any] = {
        "title": rng.choice(titles),
        "category": category,
        "description": f"Seen {rng.choice(('this morning', 'yesterday', 'since last week', 'just now'))}.",
        "severity": rng.choices(("low", "medium", "high"), (3, 6, 1))[0],
        "lat": lat,
        "long": long,
        "channel": rng.choices(("mobile", "web"), (6, 4))[0],
    }
    asked = {
        code: rng.choice(list(one.values))
        for code, one in reference.categories[category].attributes.items()
        if one.type is AttributeType.SINGLEVALUELIST and (one.required or rng.random() < 0.5)  # noqa: PLR2004 -- half answer
    }
    return payload | ({"attributes": asked} if asked else {})


def _place(rng: random.Random, reference: Reference, district: str) -> tuple[float, float]:
    """A point in the district, most of them near its centre."""
    centre = reference.districts[district].centre
    for _ in range(_TRIES):
        lat = rng.gauss(centre[0], _SPREAD_DEGREES)
        long = rng.gauss(centre[1], _SPREAD_DEGREES / cosine(centre[0]))
        if reference.district_at(lat, long) == district:
            return round(lat, 7), round(long, 7)
    return centre


def _again(rng: random.Random, first: Mapping[str, Any], reference: Reference) -> Mapping[str, Any]:
    """What another citizen sees of the same thing, a few steps away."""
    reach = _NEAR_METRES / METRES_PER_DEGREE
    lat = round(first["lat"] + rng.uniform(-reach, reach), 7)
    long = round(first["long"] + rng.uniform(-reach, reach), 7)
    moved = {"lat": lat, "long": long} if reference.district_at(lat, long) is not None else {}
    return {**first, **moved, "title": f"{first['title']}, still there"}


def _spoilt(rng: random.Random, at: float, payload: dict[str, Any], citizen: int | None) -> SimulatedReport:
    """The report with one mistake that citizens make."""
    field, value = rng.choice(
        (
            ("lat", 48.43),  # Victoria
            ("category", "potholes"),
            ("title", "Call me: 604 555 0100"),
            ("title", "<b>Pothole</b>"),
            ("description", "x" * 4001),
            ("severity", "urgent"),
            ("photo", "IMG_0001.jpg"),
        )
    )
    return SimulatedReport(at, {**payload, field: value}, citizen, wrong=field)


def week_in(seconds: float, start: datetime) -> Callable[[float], datetime]:
    """A clock that lets a run of so many seconds stand for the week from `start`."""
    return lambda at: start + timedelta(days=7 * at / seconds)

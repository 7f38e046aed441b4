"""Business licences, as the portal exports them, as downloaders save them, and in the form of 1997 to 2012.

`portal`: `;`, byte order mark, CRLF, mixed-case headers, local times, GeoJSON points.
`download`: `,`, LF, lower-case headers, times in UTC, points as Python prints dictionaries.
`1997`: as `portal`, but licences are issued on a day, fees are whole dollars, and there is no geo_point_2d.

Whatever is wrong in the rows is wrong in the city's files too. The shares below are shares of all rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from city_platform.samples.chunks import GeneratedFile, Progress, joined, write_chunks
from city_platform.samples.csvtext import cells
from city_platform.samples.draws import (
    Choices,
    Draw,
    Indices,
    choices,
    draws,
    generator,
    integers,
    scaled,
    strings,
    take,
    wheel,
)
from city_platform.samples.instants import DAY_SECONDS, Instants, day_texts, epoch_day
from city_platform.samples.names import names
from city_platform.samples.places import download_geometry, download_pair, places, portal_geometry
from city_platform.samples.request import check_request
from city_platform.samples.words import BUSINESS_TYPES

HEADERS = (
    "FOLDERYEAR", "LicenceRSN", "LicenceNumber", "LicenceRevisionNumber", "BusinessName", "BusinessTradeName", "Status",
    "IssuedDate", "ExpiredDate", "BusinessType", "BusinessSubType", "Unit", "UnitType", "House", "Street", "City",
    "Province", "Country", "PostalCode", "LocalArea", "NumberofEmployees", "FeePaid", "ExtractDate", "Geom",
    "geo_point_2d",
)  # fmt: skip
HEADERS_1997 = HEADERS[:-1]

EXACT_DUPLICATE_SHARE = 2e-4
LATER_EXTRACT_SHARE = 3e-4  # a licence a second time, extracted three days later
EXPIRY_BEFORE_ISSUE_SHARE = 5e-4
BROKEN_EXPIRY_SHARE = 2e-4  # 209-12-31
NEGATIVE_FEE_SHARE = 4e-4
NO_FEE_SHARE = 0.46
ABSURD_EMPLOYEES_SHARE = 1e-4
NO_STATUS_SHARE = 5e-4
UNKNOWN_STATUS_SHARE = 2e-4
PADDED_STATUS_SHARE = 2e-3
MISSPELT_UNIT_SHARE = 6e-4

DEFAULT_YEARS = range(2014, 2026)
KNOWN_YEARS = range(2013, 2051)
YEARS_1997 = range(1997, 2013)  # the export of these has other types and 24 columns
VANCOUVER = ZoneInfo("America/Vancouver")
_MODERN = 2024  # since then: local areas, employees as decimals, types without *Historic*
_FIRST_RSN = 2_800_000
_ISSUE_DAYS = 425  # from 1 November of the year before to 30 December, most of them early
_DRAWS = 19
_SHORT_SHARE = 0.015  # licences of a month
_BROKEN = 3
_EXPIRY_KINDS = wheel([1 - _SHORT_SHARE, _SHORT_SHARE, EXPIRY_BEFORE_ISSUE_SHARE, BROKEN_EXPIRY_SHARE])


class LicenceForm(StrEnum):
    """Who wrote the file."""

    PORTAL = "portal"
    DOWNLOAD = "download"
    OF_1997 = "1997"


def generate_licences(
    out: Path,
    rows: int,
    seed: int,
    years: Sequence[int] | None = None,
    *,
    form: str | None = None,
    extracted: date | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> GeneratedFile:
    """Writes `rows` licences, duplicates included, of `years` in equal parts to `out` (gzipped where it ends in .gz).

    `years` are by default 2014 to 2025, in the form of 1997 all that it covers; the `form` is by default that of the
    portal. `extracted` is the day of ExtractDate, by default 5 January after the last year. The same arguments give the
    same bytes on any number of threads. Raises InvalidSampleRequest.
    """
    form = form or LicenceForm.PORTAL
    early = form == LicenceForm.OF_1997
    years = tuple(years if years is not None else (YEARS_1997 if early else DEFAULT_YEARS))
    known_years = YEARS_1997 if early else KNOWN_YEARS
    check_request(
        rows=rows, seed=seed, years=years, known_years=known_years, threads=threads, form=form, forms=tuple(LicenceForm)
    )
    written = LicenceForm(form)
    licences = _Licences(seed, years, written, extracted or date(max(years) + 1, 1, 5))
    return write_chunks(out, _header(written), licences.chunk, rows, threads=threads, progress=progress)


class _Licences:
    """What the chunks of one file share: the texts they draw from. Chunks read it from several threads.

    A row is put together from fragments that carry their delimiters: `24;` `4107311` `;24-` `581022` `;00;` ...
    """

    def __init__(self, seed: int, years: tuple[int, ...], form: LicenceForm, extracted: date) -> None:
        portal = form is not LicenceForm.DOWNLOAD
        early = form is LicenceForm.OF_1997
        end = ";" if portal else ","
        first_day, last_day = date(min(years) - 2, 1, 1), date(max(years), 12, 31)
        self._seed = seed
        self._years = np.array(years, dtype=np.int64)
        self._year_texts = strings([f"{year % 100:02d}{end}" for year in years])
        self._number_texts = strings([f"{end}{year % 100:02d}-" for year in years])
        self._season_starts = _days(years, -1, 11, 1)
        self._year_ends = _days(years, 0, 12, 31)
        self._ends_before_season = _days(years, -2, 12, 31)
        self._wall_clock = Instants(first_day, last_day, VANCOUVER)
        self._written_clock = self._wall_clock if portal else Instants(first_day, last_day, UTC)
        self._first_day = epoch_day(first_day)
        self._issue_days = strings([*day_texts(first_day, last_day, "%Y-%m-%d"), ""]) if early else None
        expiries = [*day_texts(first_day, last_day, "%Y-%m-%d"), "", "209-12-31"]
        self._expiries = strings([end + day + end for day in expiries])
        self._no_expiry, self._broken_expiry = len(expiries) - 2, len(expiries) - 1
        self._extracts = strings([text + end for text in _extract_texts(extracted, VANCOUVER if portal else UTC)])
        self._names = names(seed, end)
        point = _geometry if early else _portal_point if portal else _download_point
        self._places = places(seed, end, point, "\r\n" if portal else "\n")
        self._revisions = _revisions(end)
        self._statuses, self._dated = _statuses(end)
        self._types = _types(end)
        self._units = _units(end)
        self._employees = _employees(end)
        self._fees = _fees(seed, end, decimals=0 if early else 1)

    def chunk(self, number: int, first: int, rows: int) -> Sequence[memoryview]:
        """The chunk's licences, those that stand there twice among them."""
        rng = generator(self._seed, 0, number)
        original, later = _duplicates(rng, rows)
        licence_rsn = (_FIRST_RSN + first + rng.permutation(rows))[original]
        return (
            joined(*self._fragments((column[original] for column in draws(rng, _DRAWS, rows)), licence_rsn, later)),
        )

    def _fragments(self, draw: Iterator[Draw], licence_rsn: Indices, later: NDArray[np.bool_]) -> list[Any]:
        """One licence for each number in `licence_rsn`, from `_DRAWS` draws; some were extracted `later`."""
        year = scaled(next(draw), len(self._years))
        era = (self._years[year] >= _MODERN).astype(np.int64)
        status = self._statuses.indices(next(draw), era)
        issued, expiry = self._validity(year, next(draw), next(draw), next(draw))
        dated = self._dated[status]
        place = (next(draw) >> 2).astype(np.int64)
        unit = np.where(self._places.buildings[place], self._units.indices(next(draw)), 0)
        nights = len(self._extracts) // 2
        return [
            take(self._year_texts, year),
            integers(licence_rsn),
            take(self._number_texts, year),
            integers(100_000 + scaled(next(draw), 65_536) * 13),
            self._revisions.pick(next(draw), era),
            *self._names.business(next(draw), next(draw), next(draw)),
            *self._names.trade(next(draw), next(draw), next(draw)),
            take(self._statuses.texts, status),
            *self._issued(issued, dated),
            take(self._expiries, np.where(dated, expiry, self._no_expiry)),
            self._types.pick(next(draw), era),
            take(self._units.texts, unit),
            take(self._places.addresses, place),
            take(self._places.local_areas, np.where(era == 1, place, self._places.no_local_area)),
            self._employees.pick(next(draw), era),
            self._fees.pick(next(draw)),
            take(self._extracts, scaled(next(draw), nights) + np.where(later, nights, 0)),
            take(self._places.points, place),
        ]

    def _issued(self, utc_seconds: Indices, dated: NDArray[np.bool_]) -> tuple[Any, ...]:
        """IssuedDate: an instant in three fragments, or the local day in one."""
        if self._issue_days is None:
            return self._written_clock.fragments(utc_seconds, dated)
        days = self._wall_clock.local(utc_seconds) // DAY_SECONDS - self._first_day
        return (take(self._issue_days, np.where(dated, days, len(self._issue_days) - 1)),)

    def _validity(self, year: Indices, day: Draw, second: Draw, kind: Draw) -> tuple[Indices, Indices]:
        """When each licence was issued, in UTC seconds, and the index of its ExpiredDate."""
        early = day.astype(np.int64)
        issue_day = self._season_starts[year] + ((early * early * _ISSUE_DAYS) >> 32)
        # Standard time is eight hours behind UTC; in summer this starts the day at 1:00, which harms nothing.
        issued: Indices = issue_day * DAY_SECONDS + scaled(second, DAY_SECONDS) + 8 * 3600
        month_later = self._wall_clock.local(issued) // DAY_SECONDS + 30
        year_end = self._year_ends[year]
        days = np.choose(
            _EXPIRY_KINDS[kind], (year_end, np.minimum(month_later, year_end), self._ends_before_season[year], year_end)
        )
        expiry: Indices = np.where(_EXPIRY_KINDS[kind] == _BROKEN, self._broken_expiry, days - self._first_day)
        return issued, expiry


def _header(form: LicenceForm) -> bytes:
    if form is LicenceForm.DOWNLOAD:
        return (",".join(HEADERS).lower() + "\n").encode()
    headers = HEADERS_1997 if form is LicenceForm.OF_1997 else HEADERS
    return ("\ufeff" + ";".join(headers) + "\r\n").encode()


def _duplicates(rng: np.random.Generator, rows: int) -> tuple[Indices, NDArray[np.bool_]]:
    """The row that each row repeats (most repeat themselves), and which of them were extracted later than it."""
    exact, late = round(rows * EXACT_DUPLICATE_SHARE), round(rows * LATER_EXTRACT_SHARE)
    copies, sources = rng.choice(rows, (2, exact + late), replace=False)
    original = np.arange(rows, dtype=np.int64)
    original[copies] = sources
    later = np.zeros(rows, dtype=np.bool_)
    later[copies[exact:]] = True
    return original, later


def _days(years: Sequence[int], years_off: int, month: int, day: int) -> Indices:
    return np.array([epoch_day(date(year + years_off, month, day)) for year in years], dtype=np.int64)


def _extract_texts(extracted: date, written_in: tzinfo) -> list[str]:
    """The seconds of one night in which the portal extracted all rows, then the same seconds three days later."""
    nights = (extracted, extracted + timedelta(3))
    instants = [datetime.combine(night, time(0, 8, 30 + second), VANCOUVER) for night in nights for second in range(18)]
    return [instant.astimezone(written_in).isoformat() for instant in instants]


def _geometry(latitude: str, longitude: str) -> tuple[str]:
    return (portal_geometry(latitude, longitude),)


def _portal_point(latitude: str, longitude: str) -> tuple[str, str]:
    return portal_geometry(latitude, longitude), f"{latitude}, {longitude}"


def _download_point(latitude: str, longitude: str) -> tuple[str, str]:
    return download_geometry(latitude, longitude), download_pair(latitude, longitude)


def _ended(era: Iterable[tuple[str, float]], end: str, start: str = "") -> list[tuple[str, float]]:
    return [(start + text + end, share) for text, share in era]


def _revisions(end: str) -> Choices:
    old = [("00", 96.6), ("01", 3.2), ("02", 0.15), ("03", 0.05)]
    modern = [("10", 91.4), ("00", 5.2), ("11", 3.25), ("12", 0.1), ("01", 0.05)]
    return choices(_ended(old, end, end), _ended(modern, end, end))


def _statuses(end: str) -> tuple[Choices, NDArray[np.bool_]]:
    """The statuses, and which of them come with IssuedDate and ExpiredDate."""
    rare = [("", NO_STATUS_SHARE), ("Suspended", UNKNOWN_STATUS_SHARE), (" Issued", PADDED_STATUS_SHARE / 2),
            ("Issued  ", PADDED_STATUS_SHARE / 2)]  # fmt: skip
    undated = ("Gone Out of Business", "Pending", "Cancelled")
    old = [("Issued", 0.69), ("Inactive", 0.141), *zip(undated, (0.074, 0.059, 0.036), strict=True)]
    modern = [("Issued", 0.93), ("Inactive", 0.02), *zip(undated, (0.03, 0.012, 0.008), strict=True)]
    statuses = choices(_ended([*old, *rare], end), _ended([*modern, *rare], end))
    dated = np.array([text.removesuffix(end) not in undated for text in statuses.texts.to_pylist()])
    return statuses, dated


def _types(end: str) -> Choices:
    old, modern = [], []
    for rank, (business, subtypes) in enumerate(BUSINESS_TYPES, start=2):
        for position, subtype in enumerate(subtypes, start=1):
            share = 1 / rank / position
            old.append((cells((f"{business} *Historic*", subtype), end), share))
            modern.append((cells((business, subtype), end), share))
    return choices(old, modern)


def _units(end: str) -> Choices:
    """Unit and UnitType; none is index 0."""
    plain = [(str(number), "Unit", 0.4 / number) for number in range(100, 3600, 5)]
    rest = [("", "", 0.53), ("2nd", "Floor", 0.006), ("M", "Suite", 0.004), ("PH2", "PH", 5e-4), ("300", "uNIT", 2e-4),
            ("#200", "Unit", 2e-3), (" 105 ", "Unit", 2e-3), ("12", "Unti", MISSPELT_UNIT_SHARE)]  # fmt: skip
    common = (1 - sum(share for *_, share in rest)) / sum(share for *_, share in plain)
    weighted = [*rest, *((unit, kind, share * common) for unit, kind, share in plain)]
    return choices([(cells((unit, kind), end), share) for unit, kind, share in weighted])


def _employees(end: str) -> Choices:
    """Texts of whole numbers, with `000` for unknown; since 2024 decimals, with 0.0."""
    counts = [*range(1, 200), *range(200, 2500, 25)]
    tail = [(count, 1 / count**1.5) for count in counts]
    known = 0.62 / sum(share for _, share in tail)
    old = [("000", 0.34), ("0", 0.04), *((str(count), share * known) for count, share in tail)]
    modern = [("0.0", 0.26), ("000", 0.04), *((f"{count}.0", share * known) for count, share in tail)]
    return choices(
        _ended([*old, ("148358", ABSURD_EMPLOYEES_SHARE)], end),
        _ended([*modern, ("148358.0", ABSURD_EMPLOYEES_SHARE)], end),
    )


def _fees(seed: int, end: str, decimals: int) -> Choices:
    """Nothing for nearly half of the rows, else one of 400 fees between 12 and some 30,000 dollars."""
    rng = generator(seed, 3)
    amounts = np.unique(np.exp(rng.normal(5.3, 1.1, 400)).clip(12, 32_000).round())
    shares = rng.pareto(1.1, len(amounts)) + 0.05
    shares *= (1 - NO_FEE_SHARE - NEGATIVE_FEE_SHARE) / shares.sum()
    weighted = [(-123.0, NEGATIVE_FEE_SHARE), *zip(amounts.tolist(), shares.tolist(), strict=True)]
    paid = [(f"{amount:.{decimals}f}", share) for amount, share in weighted]
    return choices(_ended([("", NO_FEE_SHARE), *paid], end))

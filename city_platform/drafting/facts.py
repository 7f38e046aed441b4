"""What can be measured of a file nobody has prepared: its profile, and what drafting asks beyond it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.ingestion.text_rows import text_rows
from city_platform.profiling.measure import MOSTLY, ColumnToProfile, measure
from city_platform.profiling.model import ColumnProfile

MOST_VALUES = 20  # of a column that seems to hold a closed list
_REPEATED = 20  # times that a value of such a list occurs on average, at least
_MOST_IN_KEYS = 8  # columns of which pairs are tried as a key
_MOST_ROWS_FOR_PAIRS = 2_000_000
_LONGEST_KEY = 64  # characters

# Texts of a day that are not ISO 8601: a pattern of three groups, and what each group is. Of the two ways of reading
# 3/4/2024 the file itself has to rule one out.
SLASHED = "([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})"
MONTH_FIRST, DAY_FIRST, EITHER = "%m/%d/%Y", "%d/%m/%Y", "?"


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """One column. `values` are all there are, where they look like a closed list and the profile withholds none.

    `years` counts rows by the year that their text tells, of a column whose texts do; `slashed` says which of
    `MONTH_FIRST`, `DAY_FIRST` and `EITHER` its dates are. `decimals` are the most digits behind a point, `whole` the
    most before it.
    """

    profile: ColumnProfile
    values: tuple[str, ...] = ()
    years: tuple[tuple[int, int], ...] = ()
    slashed: str | None = None
    decimals: int = 0
    whole: int = 0
    stray_spaces: bool = False  # around a value, or more than one within it

    @property
    def header(self) -> str:
        return self.profile.name


@dataclass(frozen=True, slots=True)
class Facts:
    """A file. `keys` are the columns, else the pairs of columns, that tell its different rows apart, by headers."""

    file: str
    rows: int
    duplicate_rows: int
    columns: tuple[ColumnFacts, ...]
    keys: tuple[tuple[str, ...], ...]
    unreadable: Sequence[str]


def file_facts(path: Path, timezone: str, progress: Callable[[int], None] | None = None) -> Facts:
    """Reads a CSV, JSON lines or xlsx file, also gzipped. `progress` is told the columns done.

    Nothing outlives the call. Raises UnreadableSource, and OSError if the file cannot be read.
    """
    with TemporaryDirectory(prefix="draft-") as scratch, DuckDBEngine(Path(scratch), (path,)).session() as session:
        read = text_rows(path, Path(scratch))
        relation = session.parquet([read.file])
        named = [ColumnToProfile(name) for name in read.names]
        profile = measure(session, relation, named, path.name, timezone, progress)
        columns = tuple(_column(session, relation, one) for one in profile.columns)
        different = profile.rows - profile.duplicate_rows
        return Facts(
            file=path.name,
            rows=profile.rows,
            duplicate_rows=profile.duplicate_rows,
            columns=columns,
            keys=_keys(session, relation, columns, different) if different > 1 else (),
            unreadable=read.unreadable,
        )


def _column(session: DuckDBSession, relation: str, profile: ColumnProfile) -> ColumnFacts:
    written = session.dialect.name(profile.name)
    text = f"trim({written})"
    if not profile.valid:
        return ColumnFacts(profile)
    tidy = session.dialect.collapse_whitespace(session.dialect.trim(written))
    ((stray,),) = session.rows(f"SELECT coalesce(bool_or({tidy} <> {written}), false) FROM {relation}")
    return replace(_facts(session, relation, text, profile), stray_spaces=bool(stray))


def _facts(session: DuckDBSession, relation: str, text: str, profile: ColumnProfile) -> ColumnFacts:
    match profile.type:
        case "VARCHAR":
            slashed = _slashed(session, relation, text, profile)
            year = f"regexp_extract({text}, '[0-9]{{4}}$')" if slashed else text
            years = _years(session, relation, year)
            return ColumnFacts(profile, _values(session, relation, text, profile), years, slashed)
        case "DATE" | "TIMESTAMP WITH TIME ZONE":
            return ColumnFacts(profile, years=_years(session, relation, f"left({text}, 4)"))
        case "BIGINT" | "DOUBLE":
            ((decimals, whole),) = session.rows(
                f"SELECT max(length(regexp_extract({text}, '[.]([0-9]+)$', 1))), "
                f"max(length(regexp_extract({text}, '^[+-]?([0-9]*)', 1))) FROM {relation}"
            )
            # A number in scientific notation has no digits that could be counted.
            ((plain,),) = session.rows(
                f"SELECT coalesce(bool_and({session.dialect.matches_fully(text, '[+-]?[0-9]*([.][0-9]+)?')}), true) "
                f"FROM {relation} WHERE {text} <> ''"
            )
            years = _years(session, relation, text) if profile.type == "BIGINT" else ()
            return ColumnFacts(profile, years=years, decimals=decimals if plain else 99, whole=whole)
    return ColumnFacts(profile)


def _values(session: DuckDBSession, relation: str, text: str, profile: ColumnProfile) -> tuple[str, ...]:
    """All values of a column that repeats a few; none of one that may name somebody."""
    if profile.withheld or profile.distinct > MOST_VALUES or profile.valid < profile.distinct * _REPEATED:
        return ()
    shown = session.dialect.collapse_whitespace(text)
    found = session.rows(f"SELECT DISTINCT {shown} FROM {relation} WHERE {text} <> '' ORDER BY 1")
    return tuple(value for (value,) in found)


def _years(session: DuckDBSession, relation: str, text: str) -> tuple[tuple[int, int], ...]:
    """Years of four digits, or of two, and how many rows tell each."""
    found = session.rows(
        f"SELECT TRY_CAST({text} AS INTEGER), count(*) FROM {relation} "
        f"WHERE {session.dialect.matches_fully(text, '[0-9]{1,2}|[0-9]{4}')} GROUP BY 1 ORDER BY 1"
    )
    return tuple((year, count) for year, count in found)


def _slashed(session: DuckDBSession, relation: str, text: str, profile: ColumnProfile) -> str | None:
    """How the column writes its days, if nearly all are written with slashes."""
    form = session.dialect.text(SLASHED)
    first, second = (f"TRY_CAST(regexp_extract({text}, {form}, {place}) AS INTEGER)" for place in (1, 2))
    ((count, most_first, most_second),) = session.rows(
        f"SELECT count(*), max({first}), max({second}) FROM {relation} "
        f"WHERE {session.dialect.matches_fully(text, SLASHED)}"
    )
    if count < MOSTLY * profile.valid or most_first is None:
        return None
    months = 12
    if most_first > months:
        return DAY_FIRST if most_second <= months else None
    return MONTH_FIRST if most_second > months else EITHER


def _keys(
    session: DuckDBSession, relation: str, columns: Sequence[ColumnFacts], different: int
) -> tuple[tuple[str, ...], ...]:
    """Columns, else pairs of them, with one value for each of the different rows and none missing."""
    complete = [one.profile for one in columns if _may_be_key(one.profile)]
    single = tuple((one.name,) for one in complete if one.distinct == different)
    if single or different > _MOST_ROWS_FOR_PAIRS:
        return single
    tried = sorted(complete, key=lambda one: -one.distinct)[:_MOST_IN_KEYS]
    pairs = [(a, b) for a, b in combinations(tried, 2) if a.distinct * b.distinct >= different]
    found = []
    for a, b in pairs:
        names = ", ".join(session.dialect.name(one.name) for one in (a, b))
        ((groups,),) = session.rows(f"SELECT count(*) FROM (SELECT DISTINCT {names} FROM {relation})")
        if groups == different:
            found.append((a.name, b.name))
    return tuple(found)


def _may_be_key(profile: ColumnProfile) -> bool:
    """Measures and long texts tell rows apart by accident."""
    return (
        not (profile.missing or profile.invalid)
        and profile.type in {"BIGINT", "VARCHAR", "DATE", "TIMESTAMP WITH TIME ZONE"}
        and (profile.lengths is None or profile.lengths.maximum <= _LONGEST_KEY)
    )

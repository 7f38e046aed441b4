"""From what was measured to what the folder will say: names, types, key, partitions, classifications.

Guesses err on the side that harms nobody. What may tell of a person is personal, by its form or by its name; only
what is plainly a date, a figure or a closed list of words is proposed as public, and every proposal waits for a
steward's review.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from city_platform.contracts.model import Classification, Masking, PartitionTransform
from city_platform.drafting.facts import EITHER, MONTH_FIRST, ColumnFacts, Facts

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# Parts of names that tell of a person, of what is known about one, or of where one lives. In any place of the name:
# too many columns are personal at first, and a steward lets them go, rather than one too few.
_PERSONAL = (
    *("name", "applicant", "owner", "contact", "phone", "mobile", "email", "mail", "fax", "officer", "employee"),
    *("staff", "person", "people", "resident", "tenant", "driver", "citizen", "client", "customer", "patient"),
    *("student", "complain", "victim", "suspect", "inspector", "contractor", "assignee", "signature", "operator"),
    *("enteredby", "createdby", "updatedby", "issuedby", "reportedby", "requestedby", "author", "user", "login"),
    *(
        "address",
        "street",
        "block",
        "house",
        "unit",
        "suite",
        "apartment",
        "postal",
        "postcode",
        "zip",
        "parcel",
        "folio",
    ),
    *("latitude", "longitude", "coord", "geom", "geo", "location", "plate", "vin", "passport", "insurance"),
    *("birth", "age", "gender", "sex", "race", "ethnic", "religion", "disab", "health", "medical", "diagnos"),
    *("salary", "wage", "income", "remuneration", "earning", "expense", "account", "iban", "card", "password"),
    *("aco", "sin", "ssn", "dob", "lat", "lon", "lng", "x", "y", "ip"),
)
_WHOLE = 4  # letters; parts so short count only as a whole word of the name
_SPOKEN = re.compile(r"comment|note|description|remark|detail|narrative|reason|message|text", re.IGNORECASE)
_NUMBERING = re.compile(r"\b(id|rsn|number|num|no|key|code|nr|uuid|guid|reference|ref)\b")
_MONEY = re.compile(r"\b(fee|amount|cost|price|value|paid|budget|revenue|tax|charge|fine)s?\b")
_STARTED = ("issue", "report", "create", "open", "entry", "start", "receive", "incident", "submit", "apply", "date")
_ENDED = ("expir", "end", "due", "close", "extract", "modif", "update", "complete", "last", "birth", "disposition")
_LONG_TEXT = 30  # characters on average
_CLOSED_LIST = 100  # different values, and each often enough
_REPEATED = 5
_ENOUGH, _MOSTLY = 0.99, 0.9  # of the rows have a year that is one
_FIRST_YEAR = 1900
_TYPES = {
    "BIGINT": ("integer", "BIGINT"),
    "DOUBLE": ("number", "DOUBLE"),
    "DATE": ("date", "DATE"),
    "TIMESTAMP WITH TIME ZONE": ("timestamp", "TIMESTAMP WITH TIME ZONE"),
    "BOOLEAN": ("boolean", "BOOLEAN"),
}  # of the profile, as the contract calls them
_INT32 = 2**31
_MOST_CENTS, _MOST_WHOLE = 2, 10  # DECIMAL(12,2)
_CENTURY_PIVOT = 69  # as `ingestion.partitions` reads two digits


@dataclass(frozen=True, slots=True)
class DraftColumn:
    """One column of the drafted contract. `why` are the reasons of its guesses, for the steward to weigh."""

    name: str
    facts: ColumnFacts
    logical_type: str
    sql_type: str
    classification: Classification
    masking: Masking | None
    why: tuple[str, ...]
    key_position: int | None = None

    @property
    def header(self) -> str:
        """As the file writes it."""
        return self.facts.header

    @property
    def source_name(self) -> str:
        """As contract and recipe write it."""
        return self.facts.header.strip()


@dataclass(frozen=True, slots=True)
class DraftPartition:
    """Which column tells the year, and how; no header where none does."""

    header: str | None
    transform: PartitionTransform
    first_year: int
    why: str
    date_formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What the folder will say."""

    name: str
    facts: Facts
    columns: tuple[DraftColumn, ...]
    partition: DraftPartition

    def column(self, header: str | None) -> DraftColumn | None:
        return next((one for one in self.columns if one.header == header), None)

    @property
    def key(self) -> list[DraftColumn]:
        return sorted((one for one in self.columns if one.key_position), key=lambda one: one.key_position or 0)


def guess(name: str, facts: Facts, this_year: int) -> Draft:
    """The draft of a dataset called `name`. Years after the next one are mistakes in the file."""
    key = _key(facts)
    names = cleaned_names([one.header for one in facts.columns])
    columns = tuple(
        _column(one, new_name, key.index(one.header) + 1 if one.header in key else None)
        for one, new_name in zip(facts.columns, names, strict=True)
    )
    return Draft(name, facts, columns, _partition(facts, this_year))


def dataset_name(stem: str) -> str:
    """A dataset's name made of a file's, without its days and years: small letters, digits and `_`."""
    plain = re.sub(r"(19|20)[0-9]{2}([-_]?[0-9]{2}){0,2}", " ", _ascii(stem)).casefold()
    words = re.findall("[a-z0-9]+", plain)
    name = "_".join(words) or "dataset"
    return name if name[0].isalpha() else f"dataset_{name}"


def cleaned_names(headers: Sequence[str]) -> list[str]:
    """A name for each header: the header itself where it can be one, else its words run together, each once."""
    taken: set[str] = set()
    names = []
    for header in headers:
        plain = _ascii(header).strip()
        words = re.findall("[A-Za-z0-9]+", plain)
        name = (
            plain
            if re.fullmatch("[A-Za-z][A-Za-z0-9_]*", plain)
            else "".join(one[0].upper() + one[1:] for one in words)
        )
        name = name if name[:1].isalpha() else f"Column{name}"
        unique, place = name, 2
        while unique.casefold() in taken:
            unique, place = f"{name}_{place}", place + 1
        taken.add(unique.casefold())
        names.append(unique)
    return names


def looks_personal(header: str) -> str | None:
    """The part of the header that tells of a person, if any does."""
    words = _words(header).split()
    joined = "".join(words)
    return next((part for part in _PERSONAL if (part in joined if len(part) >= _WHOLE else part in words)), None)


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _column(facts: ColumnFacts, name: str, key_position: int | None) -> DraftColumn:
    logical, sql_type, about_type = _type(facts)
    classification, about = _classification(facts, logical)
    masking = None
    if classification is Classification.PERSONAL:
        kinds = {entity.kind for entity in facts.profile.entities}
        masking = Masking.POSTAL_AREA if kinds == {"POSTAL_CODE"} and logical == "string" else Masking.REDACT
    why = [about, *about_type]
    if key_position is not None:
        why.append("proposed as the key, because no two different rows of the file share it")
    return DraftColumn(name, facts, logical, sql_type, classification, masking, tuple(why), key_position)


def _type(facts: ColumnFacts) -> tuple[str, str, list[str]]:
    """Logical and physical type, and what to know about them."""
    profile, numbers = facts.profile, facts.profile.numbers  # no numbers of a column whose values are withheld
    about = [f"{profile.invalid:,} of its values are none and will be kept aside"] if profile.invalid else []
    logical, sql_type = _TYPES.get(profile.type, ("string", "VARCHAR"))
    if profile.type == "BIGINT" and _MONEY.search(_words(facts.header)):
        about.append("whole in this file, and cents would fit, because its name says money")
        return "number", "DECIMAL(12,2)", about
    if profile.type == "BIGINT" and numbers is not None and numbers.minimum >= -_INT32 and numbers.maximum < _INT32:
        sql_type = "INTEGER"
    elif profile.type == "DOUBLE" and facts.decimals <= _MOST_CENTS and facts.whole <= _MOST_WHOLE:
        sql_type = "DECIMAL(12,2)"
    elif facts.slashed == EITHER:
        about.append("dates with slashes, of which no row tells whether the month or the day comes first")
    elif facts.slashed:
        logical, sql_type = "date", "DATE"
        about.append(f"dates written {'month/day/year' if facts.slashed == MONTH_FIRST else 'day/month/year'}")
    return logical, sql_type, about


def _classification(facts: ColumnFacts, logical: str) -> tuple[Classification, str]:
    """The proposal and its reason."""
    profile = facts.profile
    if personal := _personal(facts, logical):
        return Classification.PERSONAL, f"personal, because {personal}"
    if not profile.valid:
        why = "the file has no value of it"
    elif logical in {"string", "integer"} and (
        _NUMBERING.search(_words(facts.header)) or profile.unique == profile.valid > 1
    ):
        why = "it numbers single rows or things"
    elif logical == "string" and (profile.distinct > _CLOSED_LIST or profile.valid < profile.distinct * _REPEATED):
        why = "its values are no closed list"
    else:
        return Classification.PUBLIC, "public, because it is a date, a figure or a closed list of words"
    return Classification.INTERNAL, f"internal, because {why}"


def _personal(facts: ColumnFacts, logical: str) -> str | None:
    """Why the column may tell of a person; None where nothing says so."""
    profile = facts.profile
    if profile.entities:
        kinds = ", ".join(f"{one.kind} ({one.share:.0%} of the values)" for one in profile.entities)
        return f"it seems to hold {kinds}"
    if part := looks_personal(facts.header):
        return f"its name says '{part}'"
    long = profile.lengths is not None and profile.lengths.mean > _LONG_TEXT
    if logical == "string" and profile.valid and (long or _SPOKEN.search(facts.header)):
        return "free text may name somebody"
    return None


def _words(header: str) -> str:
    """The header's words in small letters, divided by spaces."""
    return " ".join(one.casefold() for one in _WORDS.findall(_ascii(header)))


def _key(facts: Facts) -> tuple[str, ...]:
    """The columns of the likeliest key: one column rather than two, one that numbers rather than another."""
    columns = {one.header: one for one in facts.columns}

    def unlikely(key: tuple[str, ...]) -> tuple[int, int, int, int]:
        words = " ".join(map(_words, key))
        personal = sum(1 for one in key if columns[one].profile.entities or looks_personal(one))
        place = min(list(columns).index(one) for one in key)
        return len(key), personal, 0 if _NUMBERING.search(words) else 1, place

    return min(facts.keys, key=unlikely, default=())


def _partition(facts: Facts, this_year: int) -> DraftPartition:
    found = [one for column in facts.columns if (one := _as_partition(column, facts.rows, this_year)) is not None]
    if not found:
        why = "no column of the file tells a year in nearly every row, so the list counts for the year it was taken"
        return DraftPartition(None, PartitionTransform.SNAPSHOT, this_year, why)
    return max(found, key=lambda one: one[0])[1]


def _as_partition(
    column: ColumnFacts, rows: int, this_year: int
) -> tuple[tuple[bool, int, int, float], DraftPartition] | None:
    """How well the column tells the year, and as what it would; None where it does not."""
    header, folded = column.header, column.header.casefold()
    named_year = "year" in folded
    two_digits = named_year and bool(column.years) and all(year < 100 for year, _ in column.years)  # noqa: PLR2004
    if column.profile.type == "BIGINT" and not named_year:
        return None
    years = [(_full(year) if two_digits else year, count) for year, count in column.years]
    plausible = [(year, count) for year, count in years if _FIRST_YEAR <= year <= this_year + 1]
    share = sum(count for _, count in plausible) / rows if rows else 0.0
    if not plausible or share < _MOSTLY or column.slashed == EITHER or "birth" in folded:
        return None
    transform = PartitionTransform.YEAR
    if column.profile.type in {"BIGINT", "VARCHAR"} and not column.slashed:
        transform = PartitionTransform.TWO_DIGITS if two_digits else PartitionTransform.FOUR_DIGITS
    formats = (column.slashed,) if column.slashed else ()
    likely = 2 * named_year + _has(folded, _STARTED) - 2 * _has(folded, _ENDED)
    why = f"tells a row's year, from {plausible[0][0]} to {plausible[-1][0]}, in {share:.1%} of the rows"
    score = (share >= _ENOUGH, likely, len(plausible) > 1, share)
    return score, DraftPartition(header, transform, min(year for year, _ in plausible), why, formats)


def _full(two_digits: int) -> int:
    return two_digits + (1900 if two_digits >= _CENTURY_PIVOT else 2000)


def _has(text: str, parts: Iterable[str]) -> int:
    return int(any(part in text for part in parts))

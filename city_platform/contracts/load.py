"""From `contract.yaml` to a `Contract`: the standard first, then what this platform asks beyond it.

What the platform reads from the Open Data Contract Standard (ODCS), for one dataset:

- `name` and the one object below `schema`, of the same name: the dataset's name. `businessName` is its title.
- `status`: a `draft` is checked and left out of the platform (see `decisions`); any other word is as good as `active`.
- `domain`, `version`, `tags`, `description.purpose`; `team.name` is the owner, as `team:<name>`;
  `team.members` are role accounts and their roles (see `team`).
- `authoritativeDefinitions` of type `source`: the address the data comes from.
- `servers` of type `api`: the portal's datasets that rows are fetched from (see `contracts.sources`). Where there is
  no link of type `source`, the first of them is the address the data comes from.
- `slaProperties`: `frequency` (how often the source publishes) and `latency` (how old the newest data may be).
- `customProperties` of the contract: `licence`, `timezone` (IANA), and where rows of one key can be of different
  age, `latestBy`: the column that tells the newest. Others are kept in `Contract.extra`.

And of each property: `name` (the cleaned name), `physicalName` (the source's header), `synonyms` (headers of other
times), `logicalType`, `physicalType` (DuckDB), `classification`, `description`, `primaryKey` with
`primaryKeyPosition`, `required`, `partitioned`. `required: true` promises that the cleaned column has no nulls.
Whether a source file must carry the column is another matter, the custom property `sourceRequired`: true unless it
says false, because a column that vanishes unannounced is a breaking drift; say false for the columns that some
years' files lack. `masking` says how a personal column is published. The partitioned property has
`partitionTransform`, which says how its text names the partition: a year, a day or an hour (see `model` and
`partitions`); it may have `dateFormats` (strptime), `firstYear` and `lastYear`.

Of the schema object: `noPrimaryKey`, why no column or columns tell two rows apart (then equal rows all count, unless
the recipe removes them); `partitionTransform: snapshot-year` with `firstYear` and `lastYear`, where the source is a
list of what stands on the day it is taken and no column tells a year.
"""

import re
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from city_platform.contracts.columns import read_columns
from city_platform.contracts.decisions import is_draft, open_decisions
from city_platform.contracts.model import Column, Contract, OldVersions, Partitioning, PortalSource
from city_platform.contracts.odcs import check_standard, closest, instead, shown
from city_platform.contracts.partitions import Granularity
from city_platform.contracts.reader import CONTRACT_PROPERTIES, KEEP_DAYS, KEEP_ROWS_DAYS, KEEP_VERSIONS, Custom, Reader
from city_platform.contracts.sources import EXPORTS, read_sources
from city_platform.contracts.team import read_members
from city_platform.contracts.yaml_lines import Path, read_yaml
from city_platform.errors import Finding

CONTRACT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
_HOURS = {
    **dict.fromkeys(("h", "hr", "hour", "hours"), 1),
    **dict.fromkeys(("d", "day", "days"), 24),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 24),
}
_MONTHS = {
    **dict.fromkeys(("mo", "month", "months"), 1),
    **dict.fromkeys(("q", "quarter", "quarters"), 3),
    **dict.fromkeys(("y", "yr", "year", "years"), 12),
}
_CADENCE_OF_HOURS: dict[float, str] = {1: "hourly", 24: "daily", 7 * 24: "weekly"}
_CADENCE_OF_MONTHS: dict[float, str] = {1: "monthly", 3: "quarterly", 12: "annual"}
_FREQUENCY_REMEDY = (
    "write 1 d, 1 w, 1 mo, 3 mo or 1 y (1 h where rows come all the time), or the value 'static' where the source has "
    "stopped changing"
)
_LATENCY_REMEDY = "write a number above 0, and the unit h, d or w"
_MAX_HOURS = 10 * 366 * 24
# The custom properties that say how long something is kept, a line each (flow style) or an item with its lines.
_KEPT = re.compile(
    rf"^( *)- property: *(?:{KEEP_VERSIONS}|{KEEP_DAYS}|{KEEP_ROWS_DAYS}) *(?:#.*)?\n(?:\1  .*\n)*"
    rf"|^ *- \{{ *property: *(?:{KEEP_VERSIONS}|{KEEP_DAYS}|{KEEP_ROWS_DAYS}) *,[^{{}}\n]*\}} *(?:#.*)?\n",
    re.MULTILINE,
)
_MAX_DAYS, _MAX_VERSIONS = 3_660, 1_000  # for which old versions are kept
_LEAST_ROWS_DAYS = 14  # longer than a stream keeps what it may bring again


def about_rows(text: str) -> str:
    """The contract's text without how long something is kept: nothing has to be made again when that changes."""
    return _KEPT.sub("", text)


def load_contract(text: str, file: str) -> tuple[Contract | None, list[Finding]]:
    """The contract written in `text`, or None and every mistake in it.

    Mistakes against the standard and against the platform's own requirements come together, in the file's order.
    """
    contract, findings = read_contract(text, file)
    return (None if findings else contract), findings


def read_contract(text: str, file: str) -> tuple[Contract | None, list[Finding]]:
    """The contract as far as it can be read, and every mistake in it.

    With mistakes the contract serves for one thing only: to check the folder's other files against its columns, so
    that their mistakes show at the same time. It is None where the columns themselves cannot be told.
    """
    document, findings = read_yaml(text, file)
    if document is None:
        return None, findings
    findings += [*check_standard(document, file), *open_decisions(document, file)]
    if not isinstance(document.value, dict):
        return None, findings
    reader = Reader(document, file)
    contract = _contract(reader)
    findings = sorted({*findings, *reader.findings})
    if contract is None or not all(one.name and one.source_name and one.sql_type for one in contract.columns):
        return None, findings
    return contract, findings


def _contract(reader: Reader) -> Contract | None:
    """The contract as far as it can be read; None without a partitioning, which is always reported."""
    custom = reader.custom((), CONTRACT_PROPERTIES)
    name = reader.text(("name",), "add 'name:' with the folder's name")
    if name and not CONTRACT_NAME.fullmatch(name):
        remedy = "write small letters, digits and '_', as the folder is called"
        reader.report(("name",), f"{shown(name)} cannot be a dataset's name", remedy)
    schema = _schema_object(reader, name)
    columns, partitioning = read_columns(reader, schema)
    portal = read_sources(reader)
    cadence = _cadence(reader)
    freshness = _freshness(reader)
    tags = reader.get(("tags",))
    members = read_members(reader)
    fields = {
        "id": reader.text(("id",), "write a text", by_standard=True),
        "title": _title(reader, schema, name),
        "purpose": _purpose(reader),
        "version": reader.text(("version",), "write a text", by_standard=True),
        "owner": _owner(reader),
        "domain": reader.text(("domain",), "add 'domain:', as 'licensing' or 'transportation'"),
        "licence": _required_text(reader, custom, "licence", "the licence's name"),
        "source_url": _source_url(reader, portal),
        "timezone": _timezone(reader, custom),
    }
    latest_by = _latest_by(reader, custom, columns)
    if partitioning is None:
        return None
    return Contract(
        name=name,
        cadence=cadence,
        freshness=freshness,
        columns=columns,
        partitioning=replace(partitioning, timezone=fields["timezone"] or partitioning.timezone),
        latest_by=latest_by,
        sources=portal,
        exported=any(one.get("server") == EXPORTS for _, one in reader.items(("servers",))),
        members=members,
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        old_versions=_old_versions(reader, custom),
        rows_kept=_rows_kept(reader, custom, partitioning),
        extra={key: str(one.value) for key, one in custom.items() if key not in CONTRACT_PROPERTIES},
        draft=is_draft(reader.document),
        **fields,
    )


def _schema_object(reader: Reader, name: str) -> Path:
    """The path of the one schema object."""
    objects = reader.items(("schema",))
    if not objects:
        if reader.get(("schema",)) == [] or not reader.has(("schema",)):
            reader.report(("schema",), "the contract has no schema", "add 'schema:' with the dataset's one object")
        return ("schema", 0)
    for path, _ in objects[1:]:
        problem = "a second schema object"
        reader.report(path, problem, "move it to a folder of its own: a folder holds one dataset")
    path = objects[0][0]
    own = reader.text((*path, "name"), "write a text", by_standard=True)
    if own and name and own != name:
        problem = f"the schema object is called '{own}', the contract '{name}'"
        reader.report((*path, "name"), problem, f"write '{name}'")
    return path


def _title(reader: Reader, schema: Path, name: str) -> str:
    """The schema object's business name; without one, the dataset's name as words."""
    path = (*schema, "businessName")
    return reader.text(path, "write the dataset's title") if reader.has(path) else name.replace("_", " ").capitalize()


def _purpose(reader: Reader) -> str:
    if not reader.has(("description",)):
        reader.report((), "the contract has no 'description'", "add 'description:' with 'purpose:' below it")
        return ""
    if not isinstance(reader.get(("description",)), dict):
        return ""
    return " ".join(reader.text(("description", "purpose"), "add 'purpose:': what the data is for").split())


def _owner(reader: Reader) -> str:
    team = reader.get(("team",))
    if not reader.has(("team",)):
        reader.report((), "the contract has no 'team'", "add 'team:' with 'name:', the team that answers for the data")
    elif isinstance(team, list):
        reader.report(("team",), "'team' is a list of members", "write 'team:' with 'name:' below it")
    elif isinstance(team, dict):
        name = reader.text(("team", "name"), "add 'name:' with the team's name")
        if name and not _TEAM.fullmatch(name):
            problem = f"{shown(name)} cannot be a team's name"
            reader.report(("team", "name"), problem, "write letters, digits, '-' and '_', as open-data")
        return f"team:{name}"
    return ""


def _source_url(reader: Reader, portal: tuple[PortalSource, ...]) -> str:
    remedy = "add an entry of type 'source' with the 'url' the data comes from"
    links = reader.items(("authoritativeDefinitions",))
    sources = [(path, one.get("url")) for path, one in links if one.get("type") == "source"]
    if not sources and portal:
        return portal[0].location
    if not sources:
        reader.report(("authoritativeDefinitions",), "the contract does not say where the data comes from", remedy)
        return ""
    for path, _ in sources[1:]:
        reader.report(path, "a second link of type 'source'", "keep one; call the others 'archive'")
    path, url = sources[0]
    if isinstance(url, str) and not _URL.fullmatch(url):
        reader.report((*path, "url"), f"{shown(url)} is not a web address", "write it with https:// in front")
    return str(url)


def _required_text(reader: Reader, custom: dict[str, Custom], name: str, meaning: str) -> str:
    entry = custom.get(name)
    remedy = f"add the custom property '{name}': {meaning}"
    if entry is None:
        reader.report(("customProperties",), f"the contract has no '{name}'", remedy)
        return ""
    if not isinstance(entry.value, str) or not entry.value.strip():
        reader.report(entry.path, f"'{name}' is {shown(entry.value)}", f"write {meaning}")
        return ""
    return entry.value.strip()


def _timezone(reader: Reader, custom: dict[str, Custom]) -> str:
    name = _required_text(reader, custom, "timezone", "an IANA time zone, as America/Vancouver")
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is an OSError, '../x' a ValueError
        problem = f"{shown(name)} is not a time zone"
        reader.report(custom["timezone"].path, problem, _closest_zone(name))
        return ""


def _closest_zone(name: str) -> str:
    """The zone probably meant; naming all 600 would help nobody."""
    guess = closest(name, available_timezones())
    return f"write '{guess}'" if guess else "write an IANA name, as America/Vancouver"


def _sla(reader: Reader, name: str, remedy: str) -> tuple[Path, object, object] | None:
    """Path, value and unit of the one service level of that name."""
    found = [(path, one) for path, one in reader.items(("slaProperties",)) if one.get("property") == name]
    if not found:
        reader.report(("slaProperties",), f"the contract has no service level '{name}'", f"add it: {remedy}")
        return None
    for path, _ in found[1:]:
        reader.report((*path, "property"), f"the service level '{name}' stands here again", "keep one of the two")
    path, one = found[0]
    return path, one.get("value"), one.get("unit")


def _cadence(reader: Reader) -> str:
    level = _sla(reader, "frequency", _FREQUENCY_REMEDY)
    if level is None:
        return ""
    path, value, unit = level
    if value == "static":
        return "static"
    cadence = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        cadence = _CADENCE_OF_HOURS.get(value * _HOURS.get(str(unit), 0))
        cadence = cadence or _CADENCE_OF_MONTHS.get(value * _MONTHS.get(str(unit), 0))
    if cadence is None:
        problem = f"a frequency of {shown(value)} {unit or 'without a unit'} is not one the platform schedules"
        reader.report((*path, "value"), problem, _FREQUENCY_REMEDY)
    return cadence or ""


def _freshness(reader: Reader) -> timedelta:
    level = _sla(reader, "latency", _LATENCY_REMEDY)
    if level is None:
        return timedelta()
    path, value, unit = level
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    hours = number * _HOURS.get(str(unit), 0)
    if not 0 < hours <= _MAX_HOURS:
        problem = f"a latency of {shown(value)} {unit or 'without a unit'} is not a length of time"
        reader.report((*path, "value"), problem, _LATENCY_REMEDY)
        return timedelta()
    return timedelta(hours=hours)


def _old_versions(reader: Reader, custom: dict[str, Custom]) -> OldVersions:
    """How long old versions are kept; what the contract does not say is the platform's default."""

    kept = OldVersions()
    meaning = "for how many days a version that another replaced is kept"
    days = _number(reader, custom, KEEP_DAYS, (1, _MAX_DAYS), meaning)
    versions = _number(
        reader, custom, KEEP_VERSIONS, (1, _MAX_VERSIONS), "how many versions are kept, the newest included"
    )
    return OldVersions(
        kept.versions if versions is None else versions, kept.age if days is None else timedelta(days=days)
    )


def _rows_kept(reader: Reader, custom: dict[str, Custom], partitioning: Partitioning) -> timedelta | None:
    """How long rows are kept of which there are hourly sums; None where they are kept for good."""
    meaning = "for how many days single rows are kept"
    days = _number(reader, custom, KEEP_ROWS_DAYS, (_LEAST_ROWS_DAYS, _MAX_DAYS), meaning)
    if days is None:
        return None
    if partitioning.granularity is not Granularity.HOUR:
        problem = f"'{KEEP_ROWS_DAYS}' of a dataset whose partitions are {partitioning.granularity}s"
        reader.report(custom[KEEP_ROWS_DAYS].path, problem, "leave it out: only hourly rows have sums that stay")
        return None
    return timedelta(days=days)


def _number(reader: Reader, custom: dict[str, Custom], name: str, span: tuple[int, int], meaning: str) -> int | None:
    """A property that is a whole number within `span`; None where it is not said, or wrongly, which is reported."""
    entry = custom.get(name)
    if entry is None:
        return None
    value, (least, most) = entry.value, span
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    remedy = f"write a whole number from {least:,} to {most:,}: {meaning}"
    reader.report(entry.path, f"'{name}' is {shown(value)}", remedy)
    return None


def _latest_by(reader: Reader, custom: dict[str, Custom], columns: tuple[Column, ...]) -> str | None:
    entry = custom.get("latestBy")
    if entry is None:
        return None
    match = [one for one in columns if isinstance(entry.value, str) and one.name.casefold() == entry.value.casefold()]
    if not match:
        problem = f"latestBy names {shown(entry.value)}, which is no column"
        reader.report(entry.path, problem, instead(str(entry.value), [one.name for one in columns if one.name]))
        return None
    if not any(one.key_position for one in columns):
        problem = "latestBy chooses among rows of one key, and the dataset has no key"
        reader.report(entry.path, problem, "add 'primaryKey: true' to the key's columns, or remove latestBy")
    if match[0].logical_type not in {"date", "timestamp", "integer", "number"}:
        problem = f"the column '{match[0].name}' is not in an order of time"
        reader.report(entry.path, problem, "name a column of logical type date, timestamp, integer or number")
    return match[0].name

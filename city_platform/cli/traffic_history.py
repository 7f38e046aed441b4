"""`city-platform traffic history`: a zone's past, from the live windows, the corrected hours and their sums."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.session import OK, USAGE, Session

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from city_platform.traffic.history import History

app = typer.Typer()
_RESOLUTIONS = ("10s", "60s", "300s", "900s", "hour", "day")


@app.command(
    epilog="Examples: city-platform traffic history z-031 --from 2026-05-01 --to 2026-06-01 --resolution day\n\n"
    "city-platform traffic history z-031 --from 2026-05-28T07:00 --to 2026-05-28T09:00 --resolution 300s --csv"
)
def history(
    zone: Annotated[str, typer.Argument(help="A zone such as z-031.")],
    start: Annotated[
        str | None, typer.Option("--from", help="A day or a time of the city's clock, or RFC 3339. Else a day before.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until before that. Else now.")] = None,
    resolution: Annotated[str, typer.Option(help=f"How long steps are: {', '.join(_RESOLUTIONS)}.")] = "hour",
    as_csv: Annotated[bool, typer.Option("--csv", help="The steps as CSV on standard output.")] = False,
    home: Annotated[Path | None, typer.Option("--home", help="Where data lives, as for the other commands.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Show a zone's past: vehicles, speeds and levels by step, each hour from the lake once it was corrected there.

    Steps below an hour may span a day, hours 62 days, days 184.
    """
    from city_platform.api.traffic import Live, Traffic
    from city_platform.api.traffic.documents import history_csv, history_of
    from city_platform.deployment.incidents import open_reference
    from city_platform.deployment.traffic import find_state, open_registry
    from city_platform.layers.traffic_history import LakeHours
    from city_platform.traffic.history import Resolution, faults

    session = Session.start(home, as_json=as_json)
    if as_csv and as_json:
        session.fail(USAGE, "give --csv or --json, not both")
    if resolution not in _RESOLUTIONS:
        session.fail(USAGE, f"--resolution is one of {', '.join(_RESOLUTIONS)}")
    with session.errors():
        timezone = open_reference().zone
        platform = session.platform()
        traffic = Traffic(
            Live(open_registry, lambda: find_state(session.home), platform.clock), LakeHours(platform), timezone
        )
        city = traffic.live.city()
        place = city.roads.registry.zone_index.get(zone)
        if place is None:
            session.fail(USAGE, f"there is no zone {zone!r}; one is called {city.roads.registry.zones[0]}")
        until = _moment(session, "--to", end, timezone) or datetime.fromtimestamp(city.at_ms / 1000, UTC)
        since = _moment(session, "--from", start, timezone) or until - timedelta(days=1)
        start_ms, end_ms = (round(one.timestamp() * 1000) for one in (since, until))
        if wrong := faults(start_ms, end_ms, Resolution(resolution)):
            session.fail(USAGE, "; ".join(f"--{name}: {said}" for name, said in wrong.items()))
        found = traffic.past(city, place, start_ms, end_ms, Resolution(resolution))
    session.result(history_of(found))
    if as_csv:
        typer.echo(history_csv(found), nl=False)
    elif not as_json:
        _show(session, found, timezone)
    raise SystemExit(OK)


def _moment(session: Session, option: str, said: str | None, timezone: "ZoneInfo") -> datetime | None:
    """What was written, aware: without an offset it is the city's clock. Ends the command where it is no time."""
    if said is None:
        return None
    try:
        time = datetime.fromisoformat(said)
    except ValueError:
        session.fail(USAGE, f"{option}: write a day as 2026-05-28 or a time as 2026-05-28T07:00, not {said!r}")
    return time if time.tzinfo else time.replace(tzinfo=timezone)


def _show(session: Session, found: "History", timezone: "ZoneInfo") -> None:
    from city_platform.cli.table import ShownTable
    from city_platform.traffic.history import Resolution, Source

    daily = found.resolution is Resolution.DAY
    shown = ShownTable()
    for name in ("day" if daily else "start", "speed km/h", "index", "service", "vehicles", "heard", "from"):
        shown.add_column(name, justify="left" if name in {"day", "start", "from"} else "right", no_wrap=True)
    for step in found.steps:
        at = datetime.fromtimestamp(step.start_ms / 1000, UTC).astimezone(timezone)
        figures = step.figures
        shown.add_row(
            f"{at:%a %Y-%m-%d}" if daily else f"{at:%Y-%m-%d %H:%M:%S %Z}",
            "-" if figures.speed_kmh is None else f"{figures.speed_kmh:.1f}",
            "-" if figures.index is None else f"{figures.index:.1f}",
            figures.service or "-",
            f"{figures.vehicles:,}",
            f"{figures.coverage:.0%}",
            step.source,
        )
    session.out.print(shown)
    gone = sum(source is Source.GONE for source in found.sources.values())
    more = f"; of {gone} hours nothing is kept" if gone else ""
    session.out.print(
        f"{found.zone}: {len(found.steps)} steps, free flow {found.free_flow_x10 / 10:.0f} km/h{more}.", highlight=False
    )

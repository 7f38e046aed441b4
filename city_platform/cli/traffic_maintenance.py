"""`city-platform traffic maintenance`: say on which sensors somebody works, so that nobody is told of their silence."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import OK, USAGE, Session, local

app = typer.Typer()
_LONGEST_HOURS = 24 * 90.0


@app.command(
    epilog="Examples: city-platform traffic maintenance s-00012 s-00013 --hours 4\n\n"
    "city-platform traffic maintenance s-00012 --over"
)
def maintenance(
    sensors: Annotated[list[str] | None, typer.Argument(help="Sensors such as s-00012; none: only list.")] = None,
    hours: Annotated[float, typer.Option(min=0.1, max=_LONGEST_HOURS, help="For so long from now.")] = 4.0,
    over: Annotated[bool, typer.Option("--over", help="The work on these sensors is done.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say on which sensors somebody works: their silence is not told, and their zones do not miss them."""
    from city_platform.deployment.alerts import open_routes
    from city_platform.deployment.traffic import open_registry, open_state
    from city_platform.traffic.events import moment
    from city_platform.traffic.maintenance import change, maintained
    from city_platform.traffic.registry import sensor_id

    session = Session.start(home, as_json=as_json)
    with session.errors():
        registry, state, now = open_registry(), open_state(session.home), datetime.now(UTC)
        unknown = [name for name in sensors or [] if name not in registry.sensor_index]
        if unknown:
            session.fail(USAGE, f"there are no sensors {', '.join(unknown)}; one is called {sensor_id(0)}")
        numbers = {int(registry.number[registry.sensor_index[name]]) for name in sensors or []}
        now_ms = int(now.timestamp() * 1000)
        until_ms = None if over else int((now + timedelta(hours=hours)).timestamp() * 1000)
        found = change(state, numbers, until_ms, now_ms) if numbers else maintained(state, now_ms)
        timezone = open_routes().timezone
    until = {sensor_id(number): moment(at) for number, at in sorted(found.items())}
    session.result({"maintenance": {name: at.isoformat(timespec="seconds") for name, at in until.items()}})
    if not as_json:
        for name, at in until.items():
            session.out.print(f"{name} until {local(at, timezone)}", highlight=False)
        if not until:
            session.out.print("Nobody works on any sensor.")
    raise SystemExit(OK)

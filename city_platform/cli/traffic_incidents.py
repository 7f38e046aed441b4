"""`city-platform traffic incidents`: what traffic and incidents say of each other on this machine."""

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, USAGE, Session

if TYPE_CHECKING:
    from city_platform.crossing.desk import CrossingDesk

app = typer.Typer()


@app.command(
    epilog="Examples: city-platform traffic incidents --once\n\n"
    "CITY_PLATFORM_TRAFFIC_INCIDENTS=on city-platform traffic incidents --every 30"
)
def incidents(
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    every: Annotated[float, typer.Option(min=1, max=600, help="Seconds from one look to the next.")] = 30.0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Let incidents explain traffic, and what lasts in traffic become incidents.

    Incidents that staff has taken up explain what traffic shows near them: nobody is alarmed of it. With
    CITY_PLATFORM_TRAFFIC_INCIDENTS=on, or a file of rules, standing traffic and silent sensors become incidents, and
    are withdrawn when they are over unless somebody has taken them up. What a function does on AWS each minute. Killed
    at any moment, the next look goes on where it was. Exit code 1 where something was refused for good.
    """
    from city_platform.deployment import deployment
    from city_platform.deployment.crossing import open_crossing
    from city_platform.local.ending import asked_to_stop

    session = Session.start(home, as_json=as_json)
    stop = asked_to_stop()
    done: Counter[str] = Counter(looks=0, opened=0, withdrawn=0, noted=0, refused=0)
    explained = standing = 0
    desk: CrossingDesk | None = None
    with session.errors():
        if deployment(os.environ) != "local":
            session.fail(USAGE, "on AWS the function incident_traffic does this")
        while not stop.is_set():
            with session.outlasting(once=once):
                desk = desk or open_crossing(session.home)  # once traffic has run here: looking makes no state
                looked = desk.look() if desk else None
                if looked is not None:
                    done.update(
                        looks=1, opened=looked.opened, withdrawn=looked.withdrawn, noted=looked.noted,
                        refused=len(looked.refused),
                    )  # fmt: skip
                    explained, standing = looked.explained, looked.open
                    for one in looked.refused:
                        session.err.print(one, style="red", markup=False, highlight=False)
            if once:
                break
            stop.wait(every)
    session.result({**done, "open": standing, "explained_zones": explained})
    if not as_json:
        session.out.print(
            f"{done['opened']} incident(s) opened, {done['withdrawn']} withdrawn, {done['noted']} noted as over; "
            f"{standing} open, {explained} zone(s) explained by incidents.",
            highlight=False,
        )
    raise SystemExit(FAILED if done["refused"] else OK)

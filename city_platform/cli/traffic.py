"""`city-platform traffic …`: its commands, each in a module of its own."""

import typer

from city_platform.cli.traffic_archive import app as archive_app
from city_platform.cli.traffic_cost import app as cost_app
from city_platform.cli.traffic_gateway import app as gateway_app
from city_platform.cli.traffic_history import app as history_app
from city_platform.cli.traffic_maintenance import app as maintenance_app
from city_platform.cli.traffic_process import app as process_app
from city_platform.cli.traffic_simulate import app as simulate_app
from city_platform.cli.traffic_up import app as up_app
from city_platform.cli.traffic_watch import app as watch_app

app = typer.Typer(help="Traffic: sensors, their stream and what is made of it.", no_args_is_help=True)
for commands in (
    *(up_app, simulate_app, gateway_app, process_app, watch_app, history_app),
    *(maintenance_app, archive_app, cost_app),
):
    app.add_typer(commands)

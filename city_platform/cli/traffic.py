"""`city-platform traffic …`: its commands, each in a module of its own."""

import typer

from city_platform.cli.traffic_cost import app as cost_app
from city_platform.cli.traffic_gateway import app as gateway_app
from city_platform.cli.traffic_simulate import app as simulate_app

app = typer.Typer(help="Traffic: sensors, their stream and what is made of it.", no_args_is_help=True)
app.add_typer(cost_app)
app.add_typer(gateway_app)
app.add_typer(simulate_app)

"""Options that many commands have, so that they read alike everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Where data lives. Default: CITY_PLATFORM_HOME, else .city-platform in the checkout."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's name, as `datasets list` shows it.")]
Partition = Annotated[str, typer.Argument(metavar="PARTITION", help="The year, day or hour, as `status` shows it.")]
Actor = Annotated[
    str,
    typer.Option(
        envvar="CITY_PLATFORM_ACTOR", help="The role account that decides: a data steward of the contract's team."
    ),
]
Reason = Annotated[str, typer.Option(help="Why, in 10 to 500 characters, without anything personal.")]

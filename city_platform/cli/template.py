"""`city-platform datasets template`: what the datasets' folders need on AWS, written into the analytics stack."""

from pathlib import Path
from typing import Annotated

import typer

from city_platform.cli.options import Json
from city_platform.cli.session import CHECKOUT, FAILED, OK, Session

TEMPLATE = CHECKOUT / "infrastructure" / "analytics.yaml"
DASHBOARDS = "quicksight"  # the folder beside the template


def write_template(
    file: Annotated[Path, typer.Argument(help="The template; the part above its marker stays as it is.")] = TEMPLATE,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 where the file is not as it would be written.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write into the template the tables, rulesets, DataBrew projects, queries and dashboards of the datasets."""
    from city_platform.deployment.analytics.template import analytics_template

    session = Session.start(None, as_json=as_json)
    with session.errors():
        before = session.text(file)
        text = analytics_template(before, list(session.datasets().values()), file.parent / DASHBOARDS)
        if not check and text != before:
            file.write_text(text, "utf-8", newline="\n")
    session.result({"file": file, "changed": text != before, "bytes": len(text.encode())})
    if not as_json:
        state = "is as the datasets need it" if text == before else "is out of date" if check else "written"
        session.out.print(f"{file}: {state}, {len(text.encode()):,} bytes", markup=False, highlight=False)
    raise SystemExit(FAILED if check and text != before else OK)

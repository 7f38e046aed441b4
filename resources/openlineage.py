"""Sends OpenLineage events of what assets do, where the environment asks for it.

The variables are those of OpenLineage's own client: `OPENLINEAGE_URL` for a receiver over HTTP, with
`OPENLINEAGE_API_KEY` where it wants one, or `OPENLINEAGE__TRANSPORT__TYPE=file` with
`OPENLINEAGE__TRANSPORT__LOG_FILE_PATH` and `OPENLINEAGE__TRANSPORT__APPEND=true` for a file. Nothing is sent, and
nothing imported, without them. A receiver that does not take an event never fails a run: the run's log says so, and
the rest of the step's events are not tried.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from city_platform.datasets import Dataset
from city_platform.errors import CityPlatformError
from city_platform.lake.manifest import Manifest
from city_platform.layers.platform import Platform
from city_platform.quality.results import RuleResult

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

Report = Callable[[Sequence[Manifest], Sequence[RuleResult]], None]
_ASKED = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT__TYPE")


@contextmanager
def lineage_events(
    context: dg.AssetExecutionContext, platform: Platform, dataset: Dataset, layer: str
) -> Iterator[Report]:
    """START before the body; COMPLETE when the body reports what it made, FAIL when it raises."""
    if not any(os.environ.get(name) for name in _ASKED):
        yield lambda _made, _results: None
        return
    from city_platform.catalog.openlineage import LayerRun, completed, failed, started

    send = _sender(context)
    lake, now = platform.lake, platform.clock.now
    parent, attempt = context.run, context.op_execution_context.retry_number + 1
    run = LayerRun(dataset, layer, context.partition_key, parent.run_id, parent.job_name, attempt)
    send(lambda: started(run, lake, now()))
    try:
        yield lambda made, results: send(lambda: completed(run, lake, made, results, now()))
    except Exception as error:
        # The message of an unexpected error may hold anything; those of the platform are made to be shown.
        message = str(error) if isinstance(error, CityPlatformError) else type(error).__name__
        send(lambda: failed(run, lake, message, now()))
        raise


def _sender(context: dg.AssetExecutionContext) -> Callable[[Callable[[], "RunEvent"]], None]:
    from openlineage.client import OpenLineageClient

    given_up = False

    def send(event: Callable[[], "RunEvent"]) -> None:
        nonlocal given_up
        if given_up:
            return
        try:
            client = OpenLineageClient()
            client.emit(event())
            client.close(timeout=5)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a receiver, the data matters more
            given_up = True
            # Not the message: it may name an address with credentials in it.
            context.log.warning("An OpenLineage event was not delivered (%s); the run goes on", type(error).__name__)

    return send

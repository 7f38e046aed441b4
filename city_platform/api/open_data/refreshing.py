"""Keeps the published incidents fresh while a server of one process runs; elsewhere a job publishes them."""

import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from city_platform.api.observing import LOGGER, places

_SHARE = 20  # publishing takes at most a twentieth of the time, however many incidents there are
_PATIENCE = 5.0  # seconds that stopping waits; a publication cut off leaves the one before

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


def republishing(publish: Callable[[], object], every: float) -> Lifespan:
    """A lifespan that publishes at the start and then every so many seconds, in a thread of its own."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        stop = threading.Event()
        worker = threading.Thread(target=_publishing, args=(publish, every, stop), name="open-data", daemon=True)
        worker.start()
        try:
            yield
        finally:
            stop.set()
            await run_in_threadpool(worker.join, _PATIENCE)

    return lifespan


def _publishing(publish: Callable[[], object], every: float, stop: threading.Event) -> None:
    while True:
        started = time.monotonic()
        try:
            publish()
        except Exception as error:  # noqa: BLE001 -- whatever it was, the next round tries again
            LOGGER.log(
                logging.ERROR, json.dumps({"task": "open-data", "error": type(error).__name__, "where": places(error)})
            )
        if stop.wait(max(every, _SHARE * (time.monotonic() - started))):
            return

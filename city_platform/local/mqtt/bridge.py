"""Moves what a `Gateway` holds into the stream: one put after the other, again after a failure, until it is through."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic

from city_platform.traffic.gateway import MAX_FRAME_BYTES, Gateway, Receipt
from city_platform.traffic.stream import EventStream, StreamUnavailable
from city_platform.traffic.topics import parse_topic

_log = logging.getLogger("city_platform.traffic.gateway")


class Bridge(Generic[Receipt]):
    """Takes messages while there is room, puts them, and has them acknowledged when the stream has them.

    All of it belongs to one event loop; puts run in a thread of their own.
    """

    def __init__(
        self,
        stream: EventStream,
        acknowledge: Callable[[Sequence[Receipt]], Awaitable[None]],
        gateway: Gateway[Receipt] | None = None,
    ) -> None:
        self.gateway = gateway or Gateway[Receipt]()
        self.room = asyncio.Event()
        self.room.set()
        self._stream = stream
        self._acknowledge = acknowledge
        self._woken = asyncio.Event()
        self._ending = False
        self._out_since: float | None = None
        self._chance = random.Random()  # noqa: S311 -- spreads attempts, no secret

    def take(self, topic: str, payload: bytes, receipt: Receipt) -> bool:
        """Takes a message; False where the topic is none of traffic's or the payload is too large for a record."""
        source = parse_topic(topic)
        if source is None or len(payload) > MAX_FRAME_BYTES:
            return False
        self.gateway.take(source, payload, receipt, _now_ms())
        if not self.gateway.room:
            self.room.clear()
        self._woken.set()
        return True

    @property
    def out_s(self) -> float:
        """For how many seconds the stream has accepted nothing of what it was asked to; 0 while it does."""
        return 0.0 if self._out_since is None else time.monotonic() - self._out_since

    def end(self) -> None:
        """Has `run` return as soon as nothing is held."""
        self._ending = True
        self._woken.set()

    async def run(self) -> None:
        """Until `end`. Raises StreamRefused: somebody has to act, and what is held was not acknowledged."""
        with ThreadPoolExecutor(1, "traffic-put") as thread:
            while not (self._ending and self.gateway.empty):
                self._woken.clear()
                ripe = self.gateway.ripen(_now_ms(), everything=self._ending)
                entries = self.gateway.next_put()
                if entries:
                    try:
                        answers = await asyncio.get_running_loop().run_in_executor(thread, self._stream.put, entries)
                    except StreamUnavailable as error:
                        self._failed(error)
                    else:
                        await self._answered(answers)
                    await asyncio.sleep(self.gateway.pause_s(self._chance))
                else:
                    self.gateway.answered(())
                    await self._woken_before(ripe)

    async def _answered(self, answers: Sequence[StreamUnavailable | None]) -> None:
        receipts = self.gateway.answered(answers)
        for error in answers:
            if error is not None:
                self._told(error)
                break
        if receipts:
            if self._out_since is not None:
                _log.warning("the stream accepts records again after %.1f s", self.out_s)
            self._out_since = None
            if self.gateway.room:
                self.room.set()
            await self._acknowledge(receipts)

    def _failed(self, error: StreamUnavailable) -> None:
        self.gateway.failed()
        self._told(error)

    def _told(self, error: StreamUnavailable) -> None:
        if self._out_since is None:
            self._out_since = time.monotonic()
            _log.warning("the stream does not accept records, which are held until it does: %s", error)

    async def _woken_before(self, ripe_ms: int | None) -> None:
        wait_s = None if ripe_ms is None else max(0.0, (ripe_ms - _now_ms()) / 1000)
        try:
            await asyncio.wait_for(self._woken.wait(), wait_s)
        except TimeoutError:
            return


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

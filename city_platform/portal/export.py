"""A dataset's rows as one CSV file on this machine: all of them, of one version, or none.

What is asked for: `/exports/csv`, which has no limit of rows, where `/records` ends at 10,000. With the labels as
headers (`use_labels`), `;` between the values, times in UTC with their offset, and no byte order mark: written out,
so that a portal's own defaults change nothing.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import httpx2

from city_platform.contracts.model import PortalSource
from city_platform.ingestion.unpacking import create_private
from city_platform.portal.client import PortalClient
from city_platform.portal.errors import (
    ChangedMeanwhile,
    IncompleteExport,
    PortalUnavailable,
    RangeRefused,
    TooLarge,
    UnexpectedAnswer,
)
from city_platform.portal.records import RecordCounter
from city_platform.portal.state import PortalState

PARAMETERS = {"use_labels": "true", "delimiter": ";", "timezone": "UTC", "with_bom": "false"}
_UNPACKED_AT_ONCE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Export:
    """A finished download. `size` is in bytes, `records` without the header; `fetched_at` when it began."""

    file: Path
    url: str
    state: PortalState
    records: int
    size: int
    fetched_at: datetime


def download(client: PortalClient, source: PortalSource, file: Path, progress: Progress | None = None) -> Export:
    """Writes the dataset to `file`, which must not exist (mode 0600), in bounded memory.

    A connection that breaks is taken up where it broke if the server can (a validator and byte ranges), else the
    export starts again; pieces of two versions are never put together. `progress` is told records so far and in all.
    Raises PortalRefused, UnexpectedAnswer, TooLarge; PortalUnavailable, of which IncompleteExport and
    ChangedMeanwhile; `file` is gone after an error.
    """
    until = client.deadline()
    fetched_at = client.clock.now()
    url = client.settings.address(source.location) + "/exports/csv"
    create_private(file)
    try:
        with file.open("wb") as writer:
            state, received = client.persist(
                lambda: _one_version(client, source, url, writer, until, progress),
                until,
                again=(ChangedMeanwhile, IncompleteExport),
            )
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return Export(file, url, state, received.records, received.size, fetched_at)


def _one_version(
    client: PortalClient,
    source: PortalSource,
    url: str,
    writer: BinaryIO,
    until: datetime,
    progress: Progress | None,
) -> tuple[PortalState, "_Receiving"]:
    """All records, between two looks at the dataset that saw the same."""
    before = client.state(source, until)
    receiving = _Receiving(client, url, writer, until, before.records_count, progress)
    client.persist(receiving.go_on, until)
    if client.state(source, until) != before:
        raise ChangedMeanwhile(f"{url} changed while it was read")
    if receiving.records != before.records_count:
        raise IncompleteExport(f"{url} gave {receiving.records:,} records, the portal counts {before.records_count:,}")
    return before, receiving


class _Receiving:
    """One version of an export on its way to the disk, over as many connections as it takes."""

    def __init__(
        self,
        client: PortalClient,
        url: str,
        writer: BinaryIO,
        until: datetime,
        expected: int,
        progress: Progress | None,
    ) -> None:
        self._client, self._url, self._writer, self._until = client, url, writer, until
        self._expected, self._progress = expected, progress
        self._start_again(encoding="", validator="")

    @property
    def records(self) -> int:
        return self._counter.records

    def go_on(self) -> None:
        """Asks for what is missing and writes it. Raises PortalUnavailable where it broke off again."""
        resuming = bool(self._received and self._validator)
        headers = {"range": f"bytes={self._received}-", "if-range": self._validator} if resuming else {}
        try:
            with self._client.answer(self._url, PARAMETERS, headers) as response:
                if not (resuming and self._continues(response)):
                    self._begin(response)
                for piece in response.iter_raw():
                    self._client.check(self._until)
                    self._received += len(piece)
                    self._take(piece)
                    if self._progress is not None:
                        self._progress(self.records, self._expected)
            self._check_end()
        except RangeRefused:
            self._start_again(encoding="", validator="")
            raise

    def _continues(self, response: httpx2.Response) -> bool:
        """Whether the answer is the rest of what came before; one that is neither rest nor whole is an error."""
        if response.status_code == httpx2.codes.OK:
            return False
        same = (response.headers.get("etag"), response.headers.get("content-encoding", "")) == (
            self._validator,
            self._encoding,
        )
        if not same or not response.headers.get("content-range", "").startswith(f"bytes {self._received}-"):
            self._start_again(encoding="", validator="")
            raise PortalUnavailable(f"{self._url} gave another part than it was asked for")
        return True

    def _begin(self, response: httpx2.Response) -> None:
        encoding = response.headers.get("content-encoding", "")
        if response.status_code != httpx2.codes.OK or encoding not in {"", "identity", "gzip"}:
            raise UnexpectedAnswer(f"{self._url} answers {response.status_code} in the encoding {encoding[:20]!r}")
        etag = response.headers.get("etag", "")
        # Only a strong validator promises the same bytes.
        self._start_again(encoding=encoding, validator="" if etag.startswith("W/") else etag)

    def _start_again(self, *, encoding: str, validator: str) -> None:
        self._encoding, self._validator = encoding, validator
        self._received = 0  # bytes as the server sent them
        self.size = 0
        self._counter = RecordCounter()
        self._unpacker = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
        self._writer.seek(0)
        self._writer.truncate()

    def _take(self, piece: bytes) -> None:
        if self._unpacker is None:
            self._write(piece)
            return
        try:
            while piece:
                if self._unpacker.eof:  # gzip data may follow gzip data
                    self._unpacker = zlib.decompressobj(_GZIP)
                self._write(self._unpacker.decompress(piece, _UNPACKED_AT_ONCE))
                piece = self._unpacker.unconsumed_tail or self._unpacker.unused_data
        except zlib.error as error:
            self._start_again(encoding="", validator="")
            raise PortalUnavailable(f"{self._url} sent damaged gzip data") from error

    def _check_end(self) -> None:
        if self._unpacker is not None and not self._unpacker.eof:
            raise PortalUnavailable(f"{self._url} ended in the middle of its gzip data")

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._client.settings.max_bytes:
            raise TooLarge(f"{self._url} is larger than the {self._client.settings.max_bytes:,} bytes taken at most")
        self._counter.feed(data)
        self._writer.write(data)

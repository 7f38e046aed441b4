"""An open data portal on this machine's loopback address: real HTTP, the recorded answers, and bad days on demand.

    python -m tests.portal_server parking-tickets=tickets.csv    # serves until it is told to end

It knows what `city_platform.portal` asks for: a dataset's metadata in the shape of Explore API v2.1, and its export as
CSV. A `Fault` is used up by one request. Large files are streamed, so a benchmark can fetch what a city has.
"""

import gzip
import json
import signal
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

CATALOGUE = "/api/explore/v2.1/catalog/datasets/"
STATE, EXPORT = "state", "export"
_PIECE = 64 << 10
_KNOWN_PARAMETERS = {"use_labels", "delimiter", "timezone", "with_bom"}


@dataclass
class Served:
    """One dataset. `records` is what the portal says, which need not be true."""

    file: Path
    records: int
    modified: str = "2026-06-22T13:50:25+00:00"
    data_processed: str | None = "2026-06-22T13:50:25+00:00"


@dataclass(frozen=True)
class Fault:
    """What one request meets instead of a good answer."""

    status: int = 200
    body: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # sent as it is, then the connection ends
    cut_after: int | None = None  # bytes of the body
    pause: Callable[[], None] | None = None  # before each piece of the body
    first: Callable[[], None] | None = None  # before anything is sent


@dataclass
class Manners:
    """How the server sends exports. The portal's own: in chunks, without a validator, without ranges."""

    etag: Callable[[bytes], str] | None = None
    ranges: bool = False
    heeds_if_range: bool = True  # without it a part of another version is given, too
    gzipped: bool = False
    piece: int = _PIECE


class PortalServer:
    """Serves from `start` to `stop`; a context manager does both."""

    def __init__(self) -> None:
        self.datasets: dict[str, Served] = {}
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.manners = Manners()
        self.requests: list[tuple[str, Mapping[str, str]]] = []  # path with query, headers
        self.quota_headers: dict[str, str] = {
            "x-ratelimit-limit": "15000",
            "x-ratelimit-remaining": "14000",
            "x-ratelimit-reset": "2026-03-10 00:00:00+00:00",
        }
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"portal": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def location(self, portal_id: str) -> str:
        return self.url + CATALOGUE + portal_id

    def serve(self, portal_id: str, file: Path, records: int | None = None) -> Served:
        """Offers a CSV file; its records are counted where the caller does not say how many there are."""
        counted = file.read_bytes().count(b"\n") - 1 if records is None else records
        self.datasets[portal_id] = Served(file, counted)
        return self.datasets[portal_id]

    def asked(self, kind: str) -> int:
        return sum((EXPORT if "/exports/csv" in path else STATE) == kind for path, _ in self.requests)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what many tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] -- typeshed names sockets only


class _Cut(Exception):
    """The connection ends here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    portal: PortalServer

    def log_message(self, *_: object) -> None:
        """Tests read `requests`."""

    def do_GET(self) -> None:
        self.portal.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        parts = urlsplit(self.path)
        portal_id, _, rest = parts.path.removeprefix(CATALOGUE).partition("/")
        kind = EXPORT if rest == "exports/csv" else STATE
        fault = self.portal.faults[kind].popleft() if self.portal.faults[kind] else Fault()
        if fault.first is not None:
            fault.first()
        try:
            if fault.raw is not None:
                self.wfile.write(fault.raw)
                self.close_connection = True
                return
            served = self.portal.datasets.get(portal_id) if parts.path.startswith(CATALOGUE) else None
            if fault.status != HTTPStatus.OK:
                self._json(fault.status, fault.body, fault.headers)
            elif served is None or rest not in {"", "exports/csv"}:
                message = f"The requested dataset {portal_id} does not exist."
                self._json(HTTPStatus.NOT_FOUND, {"error_code": "NotFoundResource", "message": message})
            elif kind == STATE:
                self._json(HTTPStatus.OK, _metadata(portal_id, served), fault.headers)
            elif unknown := set(parse_qs(parts.query)) - _KNOWN_PARAMETERS:
                self._json(HTTPStatus.BAD_REQUEST, {"error_code": "InvalidRESTParameterError", "message": str(unknown)})
            else:
                self._export(served, fault)
        except (_Cut, ConnectionError):
            self.close_connection = True

    def _json(self, status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self._head(status, {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})})
        self.wfile.write(data)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**self.portal.quota_headers, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _export(self, served: Served, fault: Fault) -> None:
        manners = self.portal.manners
        headers = {"content-type": "text/csv; charset=utf-8", **fault.headers}
        start, status = 0, HTTPStatus.OK
        if manners.gzipped and "gzip" in self.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
        packed = gzip.compress(served.file.read_bytes(), mtime=0) if "content-encoding" in headers else None
        if manners.etag is not None:
            headers["etag"] = manners.etag(served.file.read_bytes())
        size = served.file.stat().st_size if packed is None else len(packed)
        wanted = self.headers.get("range")
        heeded = not manners.heeds_if_range or self.headers.get("if-range") == headers.get("etag")
        if manners.ranges and wanted and heeded:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= size:
                self._json(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {})
                return
            status = HTTPStatus.PARTIAL_CONTENT
            headers |= {"content-range": f"bytes {start}-{size - 1}/{size}", "content-length": str(size - start)}
        else:
            headers["transfer-encoding"] = "chunked"
        self._head(status, headers)
        sent = 0
        for piece in _pieces(served.file, packed, start, manners.piece):
            rest = piece if fault.cut_after is None else piece[: fault.cut_after - sent]
            if fault.pause is not None:
                fault.pause()
            chunked = b"%x\r\n%s\r\n" % (len(rest), rest) if status == HTTPStatus.OK else rest
            self.wfile.write(chunked if rest else b"")
            sent += len(rest)
            if len(rest) < len(piece):
                raise _Cut
        if status == HTTPStatus.OK:
            self.wfile.write(b"0\r\n\r\n")


def _pieces(file: Path, packed: bytes | None, start: int, size: int) -> Iterator[bytes]:
    if packed is not None:
        yield from (packed[place : place + size] for place in range(start, len(packed), size))
        return
    with file.open("rb") as reader:
        reader.seek(start)
        while piece := reader.read(size):
            yield piece


def _metadata(portal_id: str, served: Served) -> Mapping[str, object]:
    said = {
        "title": portal_id.replace("-", " ").capitalize(),
        "modified": served.modified,
        "modified_updates_on_metadata_change": False,
        "modified_updates_on_data_change": True,
        "data_processed": served.data_processed,
        "records_count": served.records,
    }
    return {
        "dataset_id": portal_id,
        "has_records": True,
        "data_visible": True,
        "fields": [],
        "metas": {"default": said},
    }


def main(arguments: list[str]) -> None:
    """Serves the files named as ID=FILE; prints the address first."""
    from city_platform.portal.records import RecordCounter

    with PortalServer() as portal:
        for argument in arguments:
            portal_id, _, name = argument.partition("=")
            counter = RecordCounter()
            for piece in _pieces(Path(name), None, 0, 1 << 20):
                counter.feed(piece)
            portal.serve(portal_id, Path(name), counter.records)
        print(portal.url, flush=True)  # noqa: T201 -- whoever starts it reads the address
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()


if __name__ == "__main__":
    main(sys.argv[1:])

"""Exports from a portal that has bad days: a real server, real connections, and nothing half is ever kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from city_platform.contracts.model import PortalSource
from city_platform.portal.client import PortalClient
from city_platform.portal.errors import (
    ChangedMeanwhile,
    DeadlinePassed,
    IncompleteExport,
    PortalRefused,
    PortalUnavailable,
    QuotaExhausted,
    TooLarge,
    UnexpectedAnswer,
)
from city_platform.portal.export import Export, download
from city_platform.portal.settings import PortalSettings
from tests.patience import PATIENCE_S
from tests.portal_server import EXPORT, STATE, Fault, Manners, PortalServer
from tests.town import StandingClock

ROWS = 3000
UNHURRIED = PortalSettings(read_timeout=PATIENCE_S, connect_timeout=PATIENCE_S)


@dataclass
class Town:
    """A portal with one dataset, and a client whose waits take no time."""

    portal: PortalServer
    source: PortalSource
    file: Path
    out: Path
    clock: StandingClock = field(default_factory=lambda: StandingClock(datetime(2026, 3, 9, 16, 30, tzinfo=UTC)))
    waits: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def client(self, settings: PortalSettings = UNHURRIED) -> PortalClient:
        def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.clock.time += timedelta(seconds=seconds)

        return PortalClient(settings, self.clock, notice=self.told.append, sleep=sleep, jitter=lambda: 1.0)

    def download(self, settings: PortalSettings = UNHURRIED) -> Export:
        with self.client(settings) as client:
            return download(client, self.source, self.out)

    def arrives(self, settings: PortalSettings = UNHURRIED) -> Export:
        """The download, held against the file that the portal serves."""
        export = self.download(settings)
        assert export.file.read_bytes() == self.file.read_bytes()
        assert (export.records, export.size) == (ROWS, self.file.stat().st_size)
        assert export.file.stat().st_mode & 0o777 == 0o600
        return export


@pytest.fixture(scope="module")
def trees_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("portal") / "trees.csv"
    lines = [f'{number};Acer;"a ""note""\r\nof {number * 7919 % 10_007}"\r\n' for number in range(ROWS)]
    file.write_bytes(("TREE_ID;Species;Note\r\n" + "".join(lines)).encode())
    return file


@pytest.fixture
def town(trees_file: Path, tmp_path: Path) -> Iterator[Town]:
    with PortalServer() as portal:
        portal.serve("trees", trees_file, ROWS)
        source = PortalSource("current", portal.location("trees"), "daily")
        yield Town(portal, source, trees_file, tmp_path / "out.csv")


def test_an_export_arrives_whole_and_says_where_from(town: Town) -> None:
    export = town.arrives()
    assert export.url == town.source.location + "/exports/csv"
    assert export.fetched_at == town.clock.time
    assert "use_labels=true" in str(town.portal.requests)
    assert "timezone=UTC" in str(town.portal.requests)
    assert not [path for path, _ in town.portal.requests if "/records" in path]
    assert town.waits == []


def test_gzip_on_the_way_changes_nothing(town: Town) -> None:
    town.portal.manners = Manners(gzipped=True, piece=1000)
    town.arrives()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=502, body={"message": "bad gateway"}),
        Fault(status=503),
        Fault(raw=b""),
        Fault(raw=b"HTTP/1.1 200 OK\r\nno colon in this line\r\n\r\n"),
        Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{}"),
        Fault(raw=b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 20\r\n\r\n<html>maintenance..."),
    ],
)
def test_what_passes_is_tried_again_with_growing_waits(town: Town, fault: Fault) -> None:
    town.portal.faults[STATE].extend([fault] * 3)
    town.arrives()
    assert town.waits == [1.0, 2.0, 4.0]
    assert all("waiting" in message for message in town.told)


def test_what_does_not_pass_is_given_up_and_leaves_nothing(town: Town) -> None:
    town.portal.faults[EXPORT].extend([Fault(status=500, body={"message": "overloaded"})] * 20)
    with pytest.raises(PortalUnavailable, match="answers 500: overloaded"):
        town.download()
    assert town.portal.asked(EXPORT) == town.client().settings.attempts
    assert not town.out.exists()


def test_a_malformed_header_is_taken_where_http_1_allows(town: Town) -> None:
    """Names in capitals and folded lines end an HTTP/2 connection; HTTP/1.1 lets them pass."""
    town.portal.quota_headers = {"X-Odd": "one,\r\n two", "CONNECTION": "keep-alive"}
    town.arrives()


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("ranges", [False, True])
def test_a_cut_connection_is_taken_up_or_begun_again(town: Town, ranges: bool, gzipped: bool) -> None:
    town.portal.manners = Manners(etag=lambda data: f'"{len(data)}"', ranges=ranges, gzipped=gzipped, piece=5000)
    town.portal.faults[EXPORT].extend([Fault(cut_after=7000), Fault(cut_after=9000)])
    town.arrives()
    asked = [headers.get("range") for path, headers in town.portal.requests if "/exports/" in path]
    # A server without ranges sends all of it again, the second cut comes after 9,000 bytes of the file.
    assert asked == [None, "bytes=7000-", "bytes=16000-" if ranges else "bytes=9000-"]


def test_without_a_strong_validator_nothing_is_taken_up(town: Town) -> None:
    town.portal.manners = Manners(etag=lambda _: 'W/"same"', ranges=True)
    town.portal.faults[EXPORT].append(Fault(cut_after=7000))
    town.arrives()
    assert not any("range" in headers for _, headers in town.portal.requests)


@pytest.mark.parametrize("heeds", [True, False])
def test_two_versions_are_never_put_together(town: Town, tmp_path: Path, heeds: bool) -> None:
    """The dataset changes while the connection is down: other bytes, other validator, same number of records."""
    other = tmp_path / "other.csv"
    other.write_bytes(town.file.read_bytes().replace(b"Acer", b"Ilex"))

    def change() -> None:
        town.portal.datasets["trees"] = replace(town.portal.datasets["trees"], file=other, modified="2026-07-01")

    town.portal.manners = Manners(etag=lambda data: f'"{hash(data)}"', ranges=True, heeds_if_range=heeds)
    town.portal.faults[EXPORT].extend([Fault(cut_after=7000), Fault(first=change)])
    export = town.download()
    assert export.file.read_bytes() == other.read_bytes()
    assert export.state.modified == "2026-07-01"
    # A part of the other version is refused at once; the look at the catalogue then costs one more whole export.
    assert town.portal.asked(EXPORT) == (3 if heeds else 4)


def test_a_dataset_that_never_stands_still_is_given_up(town: Town) -> None:
    def change() -> None:
        served = town.portal.datasets["trees"]
        served.modified += "+"

    town.portal.faults[EXPORT].extend([Fault(first=change)] * 20)
    with pytest.raises(ChangedMeanwhile):
        town.download()
    assert not town.out.exists()


@pytest.mark.parametrize("records", [ROWS - 1, ROWS + 1, 0])
def test_another_number_of_records_is_an_error_and_never_a_dataset(town: Town, records: int) -> None:
    town.portal.datasets["trees"].records = records
    with pytest.raises(IncompleteExport, match=f"gave 3,000 records, the portal counts {records:,}"):
        town.download()
    assert not town.out.exists()
    assert town.portal.asked(EXPORT) > 1


@pytest.mark.parametrize("form", ["2026-03-09T16:32:00+00:00", "1773073920", "Mon, 09 Mar 2026 16:32:00 GMT"])
def test_a_used_up_quota_is_waited_for(town: Town, form: str) -> None:
    refusal = {"errorcode": 10002, "reset_time": form}
    town.portal.faults[EXPORT].append(Fault(status=429, body=refusal))
    town.arrives()
    assert town.waits == [121.0]
    assert "quota" in town.told[0]
    assert "2026-03-09 16:32:00 UTC" in town.told[0]


def test_the_last_request_of_a_quota_is_the_last_before_its_reset(town: Town) -> None:
    last = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-03-09 16:35:00+00:00"}
    town.portal.faults[STATE].append(Fault(headers=last))
    town.arrives()
    assert town.waits == [301.0]


@pytest.mark.parametrize("body", [{"errorcode": 10005, "reset_time": "2026-03-10T00:00:00Z"}, {"errorcode": 10005}])
def test_a_quota_that_starts_again_too_late_is_an_error(town: Town, body: dict[str, object]) -> None:
    town.portal.quota_headers = {}
    town.portal.faults[STATE].append(Fault(status=429, body=body))
    with pytest.raises(QuotaExhausted, match="try again later") as caught:
        town.download()
    assert (caught.value.reset is not None) == ("reset_time" in body)
    assert town.waits == []


def test_a_trickle_ends_at_the_deadline(town: Town) -> None:
    """A minute a piece, half an hour's patience: thirty pieces of a thousand are read."""
    pieces = []

    def minute(records: int, _: int) -> None:
        pieces.append(records)
        town.clock.time += timedelta(minutes=1)

    town.portal.manners = Manners(piece=100)
    with town.client(replace(UNHURRIED, deadline=1800.0)) as client, pytest.raises(DeadlinePassed):
        download(client, town.source, town.out, minute)
    assert len(pieces) == 30
    assert not town.out.exists()


@pytest.mark.parametrize("within", [False, True])
def test_silence_is_a_timeout(town: Town, within: bool) -> None:
    """Before an answer and within one: the portal hangs until the client, whose patience is short, has gone."""

    def silence() -> None:
        town.portal.stopping.wait(PATIENCE_S)

    fault = Fault(pause=silence) if within else Fault(first=silence)
    town.portal.faults[EXPORT if within else STATE].extend([fault] * 2)
    with pytest.raises(PortalUnavailable, match="did not answer in time"):
        town.download(replace(UNHURRIED, read_timeout=0.05, attempts=2))
    assert not town.out.exists()


def test_more_bytes_than_allowed_are_refused(town: Town) -> None:
    town.portal.manners = Manners(gzipped=True)
    with pytest.raises(TooLarge):
        town.download(replace(UNHURRIED, max_bytes=50_000))
    assert not town.out.exists()


def test_redirects_stay_on_the_portal_and_end(town: Town) -> None:
    circle = Fault(status=302, headers={"location": town.source.location})
    town.portal.faults[STATE].extend([circle] * 2)
    town.arrives()
    town.out.unlink()
    town.portal.faults[STATE].extend([circle] * 20)
    with pytest.raises(UnexpectedAnswer, match="in a circle"):
        town.download()
    town.portal.faults[STATE].clear()
    town.portal.faults[STATE].append(Fault(status=302, headers={"location": "http://127.0.0.2:9/trees"}))
    with pytest.raises(UnexpectedAnswer, match=r"leads to http://127.0.0.2:9"):
        town.download()


def as_recorded(status: int, answer: bytes) -> Fault:
    """A recorded answer, byte for byte."""
    headers = f"connection: close\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}"
    return Fault(raw=f"HTTP/1.1 {status} Recorded\r\n{headers}\r\n\r\n".encode() + answer)


def test_what_the_portal_refuses_is_not_asked_again(town: Town, real_data: Path) -> None:
    """With the words of the recorded answers."""
    recorded = real_data / "portal-api"
    with pytest.raises(PortalRefused, match="nowhere does not exist"), town.client() as client:
        client.state(replace(town.source, location=town.portal.location("nowhere")))
    for status, name, words in ((404, "not-found", "does-not-exist does not"), (400, "odsql", "no_such_field")):
        answer = recorded.joinpath(f"error-{name}.json").read_bytes()
        town.portal.faults[STATE].append(as_recorded(status, answer))
        with pytest.raises(PortalRefused, match=words):
            town.download()
    assert town.waits == []


def test_recorded_metadata_are_understood(town: Town, real_data: Path) -> None:
    answer = real_data.joinpath("portal-api", "metadata-public-trees.json").read_bytes()
    town.portal.faults[STATE].append(as_recorded(200, answer))
    with town.client() as client:
        state = client.state(town.source)
    assert (state.title, state.records_count) == ("Public trees", 185_845)
    assert state.version == ("processed 2026-06-22T13:50:25+00:00, modified 2026-06-22T13:50:25+00:00, 185845 records")

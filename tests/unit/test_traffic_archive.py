"""Readings on their way to the lake: which ones, into which hour, and nothing lost whoever dies or wins."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.lake.lake import Lake, PublishedMeanwhile
from city_platform.local.store import LocalObjectStore
from city_platform.traffic import archive as archiving
from city_platform.traffic.archive import Archived, TrafficArchive, follow, hour_name
from city_platform.traffic.stream import StreamRecord
from city_platform.traffic.telemetry import Reason
from tests.incident_stream import Died, deadly
from tests.town import StandingClock
from tests.traffic import NOON, TOWN, Told, lines
from tests.traffic_lake import HOUR, MemoryStream, frames, identities, rows

HOUR_MS = 3_600_000


def lake_at(folder: Path) -> Lake:
    return Lake(LocalObjectStore(folder), StandingClock())


def record(data: bytes, number: int = 1, arrival_ms: int = NOON + 2_000) -> StreamRecord:
    return StreamRecord(f"{number:021d}", "kerb", data, arrival_ms)


def nothing_waits(count: int) -> bool:
    return not count


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_at(tmp_path)


def test_readings_go_to_their_hour_however_late_with_all_they_say(lake: Lake) -> None:
    late, now = Told(0, 7, NOON - 23 * HOUR_MS, 45), Told(1, 9, NOON + 1_000, 0)
    told = TrafficArchive(lake, TOWN).file([record(lines([late, now]))])
    assert told == Archived(1, {hour_name(late.ts_ms): 1, HOUR: 1}, {})
    [row] = rows(lake, hour_name(late.ts_ms))
    assert row | {"zone": TOWN.zones[TOWN.zone[0]], "sensor": int(TOWN.number[0]), "seq": 7} == row
    assert (row["vehicles"], row["speed_x10"], row["occupancy_x1000"], row["index_x1000"]) == (3, 595, 100, 450)
    assert (row["arrived_at"] - row["measured_at"]).total_seconds() == 23 * 3600 + 2
    [row] = rows(lake)
    assert (row["vehicles"], row["speed_x10"]) == (0, None)
    assert set(row) == {field.name for field in archiving.arrow_schema()}
    manifest = lake.require("exports", "traffic_readings", HOUR)
    assert manifest.files[0].key.startswith(f"exports/traffic_readings/hour={HOUR}/")


def test_what_is_no_reading_is_counted_and_costs_the_others_nothing(lake: Lake) -> None:
    good, ancient = Told(0, 1, NOON, 3), Told(0, 2, NOON - 25 * HOUR_MS, 3)
    told = TrafficArchive(lake, TOWN).file([record(b"rubbish"), record(lines([good, ancient]), 2)])
    assert told == Archived(2, {HOUR: 1}, {Reason.SCHEMA: 1, Reason.ANCIENT: 1})
    assert identities(lake) == {(0, 1)}


def test_nothing_in_nothing_out(lake: Lake) -> None:
    archive = TrafficArchive(lake, TOWN)
    assert archive.file([]) == Archived()
    assert follow(archive, MemoryStream(), nothing_waits) == Archived()
    assert not list(lake.store.keys(""))


def test_the_same_records_again_are_listed_once(lake: Lake) -> None:
    archive = TrafficArchive(lake, TOWN)
    for _ in range(2):
        archive.file([record(lines([Told(0, 1, NOON, 3)]))])
    assert len(rows(lake)) == 1
    assert lake.require("exports", "traffic_readings", HOUR).sequence == 1


@pytest.mark.parametrize("others", [1, archiving.ATTEMPTS])
def test_another_archive_that_publishes_first(lake: Lake, monkeypatch: pytest.MonkeyPatch, others: int) -> None:
    waits: list[float] = []
    archive, other = TrafficArchive(lake, TOWN, waits.append), TrafficArchive(lake, TOWN)
    coming = [record(lines([Told(1, number, NOON, 3)])) for number in range(others)]
    publish = Lake.publish

    def beaten(self: Lake, *where: str, **what: object) -> object:
        if coming:
            mine = coming.pop()
            remaining, coming[:] = coming[:], []
            other.file([mine])
            coming[:] = remaining
        return publish(self, *where, **what)  # type: ignore[arg-type] -- passed on as it came

    monkeypatch.setattr(Lake, "publish", beaten)
    records = [record(lines([Told(0, 1, NOON, 3)]))]
    if others < archiving.ATTEMPTS:
        archive.file(records)
        assert identities(lake) == {(0, 1), (1, 0)}
    else:
        with pytest.raises(PublishedMeanwhile):
            archive.file(records)
        assert len(identities(lake)) == others
        archive.file(records)
        assert len(identities(lake)) == others + 1
    assert len(waits) == min(others, archiving.ATTEMPTS - 1)


def test_full_files_are_published_before_the_end(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "READINGS_A_FILE", 6)
    monkeypatch.setattr(archiving, "RECORDS_A_READ", 2)
    monkeypatch.setattr(archiving, "READINGS_AT_ONCE", 2)
    stream = MemoryStream()
    for number in range(10):
        stream.add(lines([Told(number, seq, NOON, seq) for seq in (1, 2)]), NOON + 2_000, f"shard-{number % 2}")
    published: list[Archived] = []
    total = follow(TrafficArchive(lake, TOWN), stream, nothing_waits, published.append)
    assert (total.records, total.readings) == (10, 20)
    assert [one.readings for one in published] == [8, 8, 4]
    assert len(identities(lake)) == 20
    assert follow(TrafficArchive(lake, TOWN), stream, nothing_waits).records == 0


def test_a_reading_that_is_due_waits_for_nobody(lake: Lake) -> None:
    stream = MemoryStream()
    stream.add(lines([Told(0, 1, NOON, 3)]), NOON + 2_000)
    looks: list[int] = []

    def due(count: int) -> bool:
        looks.append(count)
        return len(looks) == 3

    assert follow(TrafficArchive(lake, TOWN), stream, due).readings == 1
    assert looks == [1, 0, 0]


TELLING = st.builds(
    Told,
    st.integers(0, len(TOWN) - 1),
    st.integers(1, 300),
    st.integers(NOON - 3 * HOUR_MS, NOON + 2 * HOUR_MS),
    st.integers(0, 500),
)


@settings(max_examples=40)
@given(st.lists(st.lists(TELLING, min_size=1, max_size=6), max_size=8), st.integers(1, 5), st.integers(1, 12))
def test_every_valid_reading_is_there_in_its_hour_however_the_stream_is_cut(
    batches: list[list[Told]], at_once: int, in_a_file: int
) -> None:
    stream = MemoryStream()
    for number, batch in enumerate(batches):
        for data in frames(batch):
            stream.add(data, NOON + 2 * HOUR_MS, f"shard-{number % 3}")
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(archiving, "READINGS_AT_ONCE", at_once)
        patch.setattr(archiving, "READINGS_A_FILE", in_a_file)
        patch.setattr(archiving, "RECORDS_A_READ", at_once)
        lake = lake_at(Path(folder))
        follow(TrafficArchive(lake, TOWN), stream, nothing_waits)
        found = {
            (row["sensor"], row["seq"], int(row["measured_at"].timestamp() * 1000), hour)
            for hour in lake.partitions("exports", "traffic_readings")
            for row in rows(lake, hour)
        }
    expected = {
        (int(TOWN.number[one.sensor]), one.seq, one.ts_ms, hour_name(one.ts_ms)) for batch in batches for one in batch
    }
    assert found == expected


def test_killed_at_any_side_effect_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [[Told(sensor, seq, NOON - seq * HOUR_MS // 2, seq) for seq in range(1, 4)] for sensor in range(4)]
    expected = {(int(TOWN.number[one.sensor]), one.seq) for batch in told for one in batch}

    def town(name: str) -> tuple[Lake, MemoryStream]:
        stream = MemoryStream()
        for number, batch in enumerate(told):
            stream.add(lines(batch), NOON + 2_000, f"shard-{number % 2}")
        return lake_at(tmp_path / name), stream

    def all_the_way(lake: Lake, stream: MemoryStream) -> None:
        follow(TrafficArchive(lake, TOWN), stream, nothing_waits)

    def stored(lake: Lake) -> set[tuple[int, int]]:
        hours = lake.partitions("exports", "traffic_readings")
        return set[tuple[int, int]]().union(*(identities(lake, hour) for hour in hours))

    monkeypatch.setattr(archiving, "READINGS_A_FILE", 6)
    monkeypatch.setattr(archiving, "RECORDS_A_READ", 1)
    dealt_with: Callable[..., None] = MemoryStream.dealt_with
    with deadly(monkeypatch, 0, "never") as effects:
        all_the_way(*town("undisturbed"))
    assert effects[0] >= 8
    for number in range(1, effects[0] + 1):
        for moment in ("before", "after"):
            lake, stream = town(f"{moment}-{number}")
            with deadly(monkeypatch, number, moment), pytest.raises(Died):
                all_the_way(lake, stream)
            all_the_way(lake, stream)
            assert stored(lake) == expected, (number, moment)
    for number in range(4):
        lake, stream = town(f"place-{number}")
        calls: list[Sequence[str]] = []

        def forgetful(self: MemoryStream, *place: str, calls: list[Sequence[str]] = calls, at: int = number) -> None:
            calls.append(place)
            if len(calls) > at:
                raise Died
            dealt_with(self, *place)

        with monkeypatch.context() as patch:
            patch.setattr(MemoryStream, "dealt_with", forgetful)
            with pytest.raises(Died):
                all_the_way(lake, stream)
        all_the_way(lake, stream)
        assert stored(lake) == expected, number

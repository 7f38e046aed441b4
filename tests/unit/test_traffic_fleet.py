"""What the city's sensors measure: the same for the same seed, valid, as often as asked for, and never twice."""

import numpy as np
import pytest

from city_platform.traffic.fleet import SPELL_S, Fleet, Transmission, by_zone, messages
from city_platform.traffic.frames import Decoder, encode_columns
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.telemetry import MISSING, Readings, joined, validate
from city_platform.traffic.truth import Truth

CITY = generate(seed=3, sensors=3_000, zones=60)
ROADS = generate_roads(CITY)
NOON = 1_780_254_000  # noon of a Sunday in Vancouver, and the start of a spell
MONDAY = NOON + 86_400


def _rows(readings: Readings) -> list[tuple[int, ...]]:
    columns = (readings.sensor, readings.seq, readings.ts_ms, readings.vehicle_count, readings.speed_x10)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_the_same_seed_measures_the_same_whoever_asks_and_when() -> None:
    one, other = (
        Fleet(ROADS, 3_000, 3_000),
        Fleet(generate_roads(generate(seed=3, sensors=3_000, zones=60)), 3_000, 3_000),
    )
    later = _rows(one.measured(NOON + 5))
    other.measured(NOON + 999)
    assert _rows(other.measured(NOON + 5)) == later
    assert _rows(Fleet(ROADS, 3_000, 3_000, seed=9).measured(NOON + 5)) != later


@pytest.mark.parametrize("rate", [3_000, 1_700, 10])
def test_each_second_has_its_share_and_each_sensor_its_turn(rate: int) -> None:
    fleet = Fleet(ROADS, 3_000, rate)
    period = -(-3_000 // rate)
    seconds = [fleet.measured(NOON + second) for second in range(2 * period)]
    quiet = int(0.02 * 3_000)
    assert all(rate - quiet <= len(one) <= rate for one in seconds)
    heard = np.bincount(joined(seconds).sensor, minlength=3_000)
    assert (heard == 0).sum() < quiet
    assert heard.max() <= 2 * period * rate / 3_000 + 1
    assert set(seconds[0].interval_s.tolist()) == {round(3_000 / rate)}


@pytest.mark.parametrize(("sensors", "rate"), [(3_001, 3_000), (0, 1), (3_000, 3_001), (3_000, 9)])
def test_what_no_fleet_can_do_is_said(sensors: int, rate: int) -> None:
    with pytest.raises(ValueError, match="sensors"):
        Fleet(ROADS, sensors, rate)


def test_every_reading_is_valid_and_told_apart_by_its_clock() -> None:
    fleet = Fleet(ROADS, 3_000, 3_000)
    readings = joined([fleet.measured(second) for second in range(MONDAY + 4 * 3600, MONDAY + 4 * 3600 + 5)])
    assert len({*zip(readings.sensor.tolist(), readings.seq.tolist(), strict=True)}) == len(readings)
    assert np.array_equal(readings.seq, readings.ts_ms // 1000)
    assert (readings.speed_x10 == MISSING).any()
    assert validate(readings, CITY) == {}


def test_days_have_busy_hours_and_jams_slow_their_zones() -> None:
    fleet = Fleet(ROADS, 3_000, 3_000)
    morning, night = (fleet.measured(MONDAY - 4 * 3600), fleet.measured(MONDAY - 9 * 3600))
    assert morning.vehicle_count.mean() > 5 * night.vehicle_count.mean()
    second = next(second for second in range(NOON, NOON + 86_400, 300) if fleet.jammed(second).any())
    readings, jammed = fleet.measured(second), fleet.jammed(second)
    driving = readings.speed_x10 != MISSING
    in_jam = jammed[readings.zone] & driving
    assert readings.speed_x10[in_jam].mean() < 0.5 * readings.speed_x10[driving & ~in_jam].mean()
    zone = int(np.flatnonzero(jammed)[0])
    assert not all(fleet.jammed(second + after)[zone] for after in range(0, 3600, 60)), "a jam ends"


def test_some_sensors_are_silent_for_a_while_and_some_are_stuck() -> None:
    fleet = Fleet(ROADS, 3_000, 3_000)
    seconds = [fleet.measured(NOON + second) for second in range(0, 120, 10)]
    silent = set(range(3_000)).difference(*(one.sensor.tolist() for one in seconds))
    assert 0 < len(silent) < 40
    next_spell = set(fleet.measured(NOON + SPELL_S).sensor.tolist())
    assert silent & next_spell, "silence ends"
    values = [dict(zip(one.sensor.tolist(), zip(one.vehicle_count.tolist(), one.speed_x10.tolist(), strict=True),
                       strict=True)) for one in seconds]  # fmt: skip
    stuck = [sensor for sensor in values[0] if len({one[sensor] for one in values}) == 1 and values[0][sensor][0]]
    assert 0 < len(stuck) < 40


def test_late_and_repeated_readings_are_sent_beside_and_nothing_is_lost() -> None:
    fleet = Fleet(ROADS, 3_000, 3_000)
    transmission, truth = Transmission(duplicates=0.2, late=0.1), Truth(CITY)
    sent, measured = [], []
    for second in range(NOON, NOON + 12):
        measured.append(fleet.measured(second))
        truth.add(measured[-1])
        sent.append(transmission.sent(second, measured[-1]))
    rest = transmission.rest()
    assert rest is not None
    all_sent, all_measured = _rows(joined([*sent, rest])), _rows(joined(measured))
    assert sorted(set(all_sent)) == all_measured
    assert 0.1 < len(all_sent) / len(all_measured) - 1 < 0.25
    assert len(sent[0]) < 0.95 * len(measured[0])
    told = truth.to_json()
    assert told["readings"] == len(all_measured)
    assert told["vehicles"] == sum(row[3] for row in all_measured)
    zone = CITY.zones[0]
    mine = [row for row in all_measured if CITY.zone[row[0]] == 0 and NOON <= row[1] < NOON + 10]
    assert told["zones"][zone][str(NOON * 1000)] == {
        "readings": len(mine),
        "vehicles": sum(row[3] for row in mine),
        "vehicle_speed": sum(row[3] * max(row[4], 0) for row in mine),
    }


def test_frames_and_messages_say_what_was_measured() -> None:
    measured = Fleet(ROADS, 3_000, 3_000).measured(MONDAY)
    framed, single = Decoder(CITY), Decoder(CITY)
    for place, own in by_zone(measured):
        framed.add(place, encode_columns(CITY.zones[place], own, CITY.number), MONDAY * 1000, CITY.zones[place])
    for record, (_, payload) in enumerate(messages(measured, CITY)):
        single.add(record, payload, MONDAY * 1000, "kerb")
    for decoder in (framed, single):
        readings = decoder.readings()
        assert readings is not None
        assert decoder.refused == []
        assert _rows(readings) == _rows(measured)
        assert validate(readings, CITY) == {}
        assert int(readings.occupancy_x1000.sum()) == int(measured.occupancy_x1000.sum())

"""On which sensors somebody works: they are not missed meanwhile, and nothing is told of them."""

from collections.abc import Collection, Mapping

import msgspec

from city_platform.traffic.state import Record, TrafficState, VersionConflict

RECORD = "maintenance"  # the record's key; its body is JSON, number of a sensor -> until when, epoch ms
_ATTEMPTS = 5


def maintained(state: TrafficState, now_ms: int) -> Mapping[int, int]:
    """Until when somebody works on each sensor, epoch ms by its number; without those that are over."""
    return _read(state, now_ms)[1]


def change(state: TrafficState, numbers: Collection[int], until_ms: int | None, now_ms: int) -> Mapping[int, int]:
    """Sets until when somebody works on these sensors, None for no longer; what holds then for all.

    Raises StateUnavailable, and VersionConflict where others changed it again and again meanwhile.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        version, before = _read(state, now_ms)
        after = {number: until for number, until in before.items() if number not in numbers}
        if until_ms is not None:
            after |= dict.fromkeys(numbers, until_ms)
        try:
            state.commit([Record(RECORD, version + 1, msgspec.json.encode(after))])
        except VersionConflict:
            if attempt == _ATTEMPTS:
                raise
        else:
            break
    return after


def _read(state: TrafficState, now_ms: int) -> tuple[int, dict[int, int]]:
    record = state.record(RECORD)
    if record is None:
        return 0, {}
    until = msgspec.json.decode(record.body, type=dict[int, int])
    return record.version, {number: at for number, at in until.items() if at > now_ms}

"""What is known to be going on: on which sensors somebody works, and in which zones an incident explains what is seen.

A sensor that somebody works on is not missed, and nothing is told of it. A zone is judged as ever and its events are
made, with the incident that explains them; people are not alarmed of what the city's own staff is dealing with.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from city_platform.traffic.state import Record, TrafficState, VersionConflict

RECORD = "maintenance"  # the record's key; its body is JSON, see Maintenance
_ATTEMPTS = 5


class Known(msgspec.Struct, frozen=True):
    """An incident that explains what a zone's traffic shows, from and until then, epoch ms.

    `public`: everybody may see the incident, so pages may name it.
    """

    incident_id: str
    public_ref: str
    category: str
    from_ms: int
    until_ms: int
    public: bool


class Maintenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Until when somebody works on each sensor, epoch ms by its number; by zone, the incidents that explain it."""

    sensors: dict[int, int] = {}
    zones: dict[str, tuple[Known, ...]] = {}

    def known(self, zone: str, at_ms: int) -> Sequence[Known]:
        """The incidents that explain what the zone shows at that time."""
        return [one for one in self.zones.get(zone, ()) if one.from_ms <= at_ms < one.until_ms]


def decode(body: bytes) -> Maintenance:
    """A record's body. Raises msgspec.DecodeError and UnicodeDecodeError for what is none.

    The record was sensors alone before zones came to it; one that was written then holds what it held.
    """
    try:
        return msgspec.json.decode(body, type=Maintenance)
    except msgspec.ValidationError:
        return Maintenance(sensors=msgspec.json.decode(body, type=dict[int, int]))


def read(state: TrafficState) -> Maintenance:
    """What is known now, also what is over or has yet to begin."""
    record = state.record(RECORD)
    return decode(record.body) if record else Maintenance()


def maintained(state: TrafficState, now_ms: int) -> Mapping[int, int]:
    """Until when somebody works on each sensor, epoch ms by its number; without those that are over."""
    return _lasting(read(state), now_ms).sensors


def change(state: TrafficState, numbers: Collection[int], until_ms: int | None, now_ms: int) -> Mapping[int, int]:
    """Sets until when somebody works on these sensors, None for no longer; what holds then for all.

    Raises StateUnavailable, and VersionConflict where others changed it again and again meanwhile.
    """

    def changed(before: Maintenance) -> Maintenance:
        after = {number: until for number, until in before.sensors.items() if number not in numbers}
        if until_ms is not None:
            after |= dict.fromkeys(numbers, until_ms)
        return Maintenance(after, before.zones)

    return _write(state, changed, now_ms).sensors


def explain(state: TrafficState, zones: Mapping[str, Sequence[Known]], now_ms: int) -> bool:
    """Sets which incidents explain each zone, instead of those before; whether that changed anything.

    Raises as `change`.
    """
    wanted = {zone: tuple(known) for zone, known in sorted(zones.items()) if known}
    if read(state).zones == wanted:
        return False
    _write(state, lambda before: Maintenance(before.sensors, wanted), now_ms)
    return True


def _write(state: TrafficState, changed: Callable[[Maintenance], Maintenance], now_ms: int) -> Maintenance:
    for attempt in range(1, _ATTEMPTS + 1):
        record = state.record(RECORD)
        before = _lasting(decode(record.body), now_ms) if record else Maintenance()
        after = changed(before)
        try:
            state.commit([Record(RECORD, (record.version if record else 0) + 1, msgspec.json.encode(after))])
        except VersionConflict:
            if attempt == _ATTEMPTS:
                raise
        else:
            break
    return after


def _lasting(one: Maintenance, now_ms: int) -> Maintenance:
    """The same without what is over."""
    zones = {zone: tuple(each for each in known if each.until_ms > now_ms) for zone, known in one.zones.items()}
    return Maintenance(
        {number: at for number, at in one.sensors.items() if at > now_ms},
        {zone: known for zone, known in zones.items() if known},
    )

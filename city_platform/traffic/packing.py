"""Single messages to records of the stream: many lines to one record, and what is strange to a record of its own.

What a message says stays as it is. Its topic, which the broker has checked against the client's certificate, comes
with it: a message that claims another sensor or zone than its topic, or is no message at all, reaches the dead letters
with its bytes and the reason, and no other message suffers from it.
"""

import zlib
from collections.abc import Sequence

import msgspec

from city_platform.traffic.frames import MAX_RATIO
from city_platform.traffic.topics import Source

MOST_LINE_BYTES = 8192  # a longer message has a record of its own
_WHITE = b" \t\r\n"


class _Claim(msgspec.Struct):
    """Whom a message says it is of, and whether it is one of several readings."""

    sensor_id: str
    zone_id: str | None = None
    v: int | None = None


_claims = msgspec.json.Decoder(_Claim)
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def line(source: Source, payload: bytes) -> bytes | None:
    """The message as a line of a record; None where it has to have a record of its own.

    A reading that names no zone is given the one of its topic, as the stream's reader would.
    """
    if len(payload) > MOST_LINE_BYTES or b"\n" in payload:
        return None
    try:
        claim = _claims.decode(payload)
    except _BAD_JSON:
        return None
    if claim.sensor_id != source.sensor or claim.zone_id not in {None, source.zone}:
        return None
    if claim.zone_id is not None:
        return payload
    return None if claim.v is not None else _with(payload, zone_id=source.zone)


def alone(source: Source, payload: bytes) -> bytes:
    """The message as a record of its own, which no reader can take for a frame.

    A JSON object is given its topic's sensor and zone, as the rule of AWS IoT does; anything else follows its topic in
    a line of its own, so that whoever looks at the dead letter sees where it came from.
    """
    try:
        keys = _objects.decode(payload)
    except _BAD_JSON:
        keys = {}
    if not keys or source.sensor is None:
        return source.topic.encode() + b"\n" + payload
    return _with(payload, topic_sensor=source.sensor, topic_zone=source.zone)


def pack(lines: Sequence[bytes]) -> bytes:
    """Two lines or more as one record that readers open: what deflates too well for them is not deflated."""
    text = b"\n".join(lines)
    packed = zlib.compress(text)
    return packed if len(text) <= MAX_RATIO * len(packed) else zlib.compress(text, 0)


def _with(payload: bytes, **members: str) -> bytes:
    """The JSON object with more members at its end, where they win over others of their names."""
    return payload.rstrip(_WHITE)[:-1] + b"," + msgspec.json.encode(members)[1:]

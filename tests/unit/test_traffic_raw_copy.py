"""Records of the stream stand one after the other in the copy that Firehose keeps; each knows its end."""

import json
import zlib
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traffic import NOON, Told, columns, lines

_ZLIB = 0x78


def apart(copy: bytes) -> Iterator[bytes]:
    """The records of a copy of frames and messages: zlib streams end by themselves, and so do JSON objects."""
    decoder = json.JSONDecoder()
    while copy:
        if copy[0] == _ZLIB:
            frame = zlib.decompressobj()
            frame.decompress(copy)
            assert frame.eof
            end = len(copy) - len(frame.unused_data)
        else:
            text = copy.decode("utf-8", "surrogateescape")
            end = len(text[: decoder.raw_decode(text)[1]].encode("utf-8", "surrogateescape"))
        yield copy[:end]
        copy = copy[end:]


TOLD = st.builds(Told, st.just(0), st.integers(10, 99), st.integers(NOON, NOON + 9_999), st.integers(0, 99))
RECORDS = st.one_of(
    st.lists(TOLD, min_size=1, max_size=3).map(columns),
    st.lists(TOLD, min_size=2, max_size=3).map(lines),
    TOLD.map(lambda one: json.dumps(one.line() | {"fw": "é{}"}, ensure_ascii=False).encode()),
)


@settings(max_examples=40)
@given(st.lists(RECORDS, max_size=6))
def test_a_copy_is_taken_apart_into_the_records_it_was_made_of(records: list[bytes]) -> None:
    assert list(apart(b"".join(records))) == records

"""Cursors come back as they were, and nobody makes their own."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.incidents.cursor import BadCursor, Cursors
from city_platform.incidents.repository import Listing, Pattern, Position
from tests.incidents import NOW

CURSORS = Cursors(b"s" * 32)
LISTING = Listing(Pattern.REGION_STATUS, ("east", "reported"))
POSITION = Position(NOW, "01J000000000000000000000AA")


def test_a_cursor_continues_its_own_list_for_a_day() -> None:
    text = CURSORS.write(LISTING, POSITION, NOW)
    assert CURSORS.read(text, LISTING, NOW + timedelta(hours=23)) == POSITION
    with pytest.raises(BadCursor, match="a day old"):
        CURSORS.read(text, LISTING, NOW + timedelta(hours=25))
    with pytest.raises(BadCursor, match="another list"):
        CURSORS.read(text, Listing(Pattern.REGION_STATUS, ("west", "reported")), NOW)
    with pytest.raises(BadCursor, match="no cursor"):
        Cursors(b"t" * 32).read(text, LISTING, NOW)


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda raw: raw.hex()))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        CURSORS.read(text, LISTING, NOW)


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_no_changed_character_goes_unseen(where: int, what: int) -> None:
    text = CURSORS.write(LISTING, POSITION, NOW)
    place = where % len(text)
    changed = text[:place] + chr(what) + text[place + 1 :]
    if changed == text:
        return
    with contextlib.suppress(BadCursor):
        assert CURSORS.read(changed, LISTING, NOW) == POSITION  # spare bits of base64: the same bytes

"""The live pages' drawings: letters that can be read on their colours, and words for what a cell shows."""

import re

import pytest

from city_platform.api.traffic import drawing
from city_platform.pages import page
from city_platform.traffic.congestion import Figures, Level
from city_platform.traffic.heat_map import OLD_MS, ZoneNow
from city_platform.traffic.history import Source, Step

STYLES = page("", (), drawing.STYLE)


def colours(dark: bool) -> dict[str, str]:
    """The variables of the light or the dark setting."""
    blocks = re.findall(r"(@media \(prefers-color-scheme: dark\) \{ )?:root \{(.*?)\}", STYLES, re.DOTALL)
    chosen = [text for media, text in blocks if bool(media) == dark]
    return {name: value for text in chosen for name, value in re.findall(r"--([a-z]+): (#[0-9a-f]{3,6})", text)}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_every_letter_can_be_read_on_its_colour(dark: bool) -> None:
    known = colours(dark)
    pairs = [("on", "a"), ("on", "b"), ("on", "c"), ("on", "d"), ("on", "e"), ("onf", "f"), ("soft", "none")]
    found = {f"{letter} on {cell}": round(contrast(known[letter], known[cell]), 2) for letter, cell in pairs}
    assert min(found.values()) >= 4.5, found


def zone(vehicles: int = 50, heard: int = 10, speed: float = 20.0, level: Level | None = Level.CONGESTED) -> ZoneNow:
    figures = Figures(vehicles, round(vehicles * 1e6 / speed), heard, 10, 500)
    return ZoneNow("z-001", figures, level, None, 0, 9_000, 100, 10, 0, final=True)


def test_a_cell_says_in_words_what_its_letter_and_colour_do() -> None:
    assert drawing.look(zone(), 10_000) == ("E", "E", "E, unstable, 20 km/h, congested")
    assert drawing.look(zone(heard=3, level=None), 10_000)[:2] == ("unknown", "?")
    assert drawing.look(zone(), 9_001 + OLD_MS) == ("old", "30 s", "not heard for 30 s")
    assert drawing.look(None, 0)[0] == "none"


def test_spans_are_told_in_their_own_measure() -> None:
    assert [drawing.span(one) for one in (0.4, 119, 121, 7_190, 7_300)] == ["0 s", "119 s", "2 min", "120 min", "2 h"]


def test_a_line_is_broken_where_nothing_was_heard_and_stays_within_its_axes() -> None:
    steps = [
        Step(at, at + 60_000, Source.STATE, 6, 60, Figures(100, round(1e8 / speed), 10, 10, 500), None)
        for at, speed in ((0, 30.0), (60_000, 40.0), (180_000, 50.0), (300_000, 130.0), (360_000, 10.0))
    ]
    steps.insert(3, Step(240_000, 300_000, Source.STATE, 1, 1, Figures(0, 0, 1, 10, 500), None))
    drawn = drawing.line_chart("<speed>", steps, 0, 600_000, 50.0, [(0, "12:00")])
    lines = [re.findall(r"([\d.]+),([\d.]+)", points) for points in re.findall(r'points="([^"]*)"', drawn)]
    assert [len(line) for line in lines] == [2, 2]
    assert drawn.count("<circle") == 1
    assert 'aria-label="&lt;speed&gt;"' in drawn
    assert all(44 <= float(x) <= 752 and 12 <= float(y) <= 232 for line in lines for x, y in line)
    assert float(lines[1][0][1]) < float(lines[0][0][1]), "faster is higher"

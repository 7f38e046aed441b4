"""The platform on AWS as a diagram: each stack as a frame, in it what matters of its resources, and the assets.

What is shown stands in `architecture.yaml`; here is where it lies and which ways data take. Every box says in `names`
what it stands for: `template NAME`, `resource TEMPLATE LogicalId`, `layer NAME` or `group NAME` of the asset graph.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from typing import Any

import yaml

from city_platform.infrastructure.drawing import Arrow, Box, Diagram

_WIDTH, _LEFT, _TOP, _MARGIN = 1600, 40, 96, 32
_BOX_W, _BOX_H, _LOW_H = 126, 54, 40
_GAP_X, _GAP_Y, _PAD, _HEAD = 18, 22, 16, 46
_BETWEEN_ROWS = 40  # of frames
_FRAME_W = 4 * _BOX_W + 3 * _GAP_X + 2 * _PAD
_NARROW_W = _BOX_W + 2 * _PAD
_BETWEEN = (_WIDTH - 2 * _LEFT - 2 * _FRAME_W - _NARROW_W) / 2  # columns of frames
_BAND_GAP, _BAND_STEP, _BAND_H = 10, 47, 190
_COLOURS: Mapping[str, str] = {
    "taking-in": "#c2410c",
    "keeping": "#15803d",
    "working": "#1d4ed8",
    "reading": "#7e22ce",
    "guarding": "#b91c1c",
    "watching": "#be185d",
    "shipping": "#475569",
}
_KEEPER = "foundation"


def architecture() -> Diagram:
    """The diagram; the same at every call."""
    shown: Mapping[str, Mapping[str, Any]] = yaml.safe_load(
        resources.files(__package__).joinpath("architecture.yaml").read_text("utf-8")
    )
    tall, low = _frame_height(3), _frame_height(2)
    bottom = _TOP + 2 * tall + _BETWEEN_ROWS
    middle = _LEFT + _FRAME_W + _BETWEEN
    right = middle + _NARROW_W + _BETWEEN
    places = {
        "incidents": (_LEFT, _TOP, tall),
        "iot-analytics-system": (_LEFT, bottom - tall, tall),
        _KEEPER: (middle, _TOP, bottom - _TOP),
        "dagster": (right, _TOP, bottom - low - _BETWEEN_ROWS - _TOP),
        "analytics": (right, bottom - low, low),
    }
    boxes = [box for name, place in places.items() for box in _stack(name, shown[name], *place)]
    band = bottom + _BETWEEN_ROWS
    boxes += _band({name: stack for name, stack in shown.items() if name not in places}, band)
    subtitle = "A frame is a stack of infrastructure/, a box one of its resources or what Dagster makes; arrows: data."
    return Diagram("city_platform on AWS", subtitle, _WIDTH, int(band + _BAND_H + _MARGIN), boxes, _arrows(boxes))


def _frame_height(rows: int) -> float:
    return _HEAD + rows * _BOX_H + (rows - 1) * _GAP_Y + _PAD


def _frame(name: str, stack: Mapping[str, Any], x: float, y: float, width: float, height: float) -> Box:
    colour = _COLOURS[stack["colour"]]
    return Box(name, name, stack["note"], f"template {name}", colour, x, y, width, height, frame=True)


def _stack(name: str, stack: Mapping[str, Any], x: float, y: float, height: float) -> Iterator[Box]:
    """A frame and its boxes in rows, spread over its height."""
    rows = stack["rows"]
    yield _frame(name, stack, x, y, _NARROW_W if name == _KEEPER else _FRAME_W, height)
    step = (height - _HEAD - _PAD - _BOX_H) / (len(rows) - 1)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            left, top = x + _PAD + column * (_BOX_W + _GAP_X), y + _HEAD + row * step
            yield _box(name, stack, cell, left, top, _BOX_W, _BOX_H)


def _band(stacks: Mapping[str, Mapping[str, Any]], y: float) -> Iterator[Box]:
    """The frames of what serves all the others, side by side."""
    width = (_WIDTH - 2 * _LEFT - (len(stacks) - 1) * _BAND_GAP) / len(stacks)
    for place, (name, stack) in enumerate(stacks.items()):
        x = _LEFT + place * (width + _BAND_GAP)
        yield _frame(name, stack, x, y, width, _BAND_H)
        for row, (cell,) in enumerate(stack["rows"]):
            top = y + _HEAD - 2 + row * _BAND_STEP
            yield _box(name, stack, cell, x + _BAND_GAP, top, width - 2 * _BAND_GAP, _LOW_H)


def _box(
    template: str, stack: Mapping[str, Any], cell: Sequence[str], x: float, y: float, width: float, height: float
) -> Box:
    label, note, name = cell
    if " " in name:
        return Box(name.replace(" ", "-"), label, note, name, _COLOURS[stack["colour"]], x, y, width, height)
    colour = _COLOURS["shipping" if template == "dagster" else stack["colour"]]  # the host, apart from the assets
    return Box(f"{template}-{name}", label, note, f"resource {template} {name}", colour, x, y, width, height)


def _arrows(boxes: Sequence[Box]) -> Sequence[Arrow]:
    ways = _Ways(boxes)
    raw, traffic = "foundation-RawBucket", "iot-analytics-system"
    return (
        *ways.within(
            "incidents", "Firewall", "RestApi", "ApiFunction", "IncidentTable", "StreamFunction", "ExportJobs"
        ),
        *ways.within("incidents", "ExportJobs", "ExportStateMachine", "ExportFunction"),
        *ways.within("incidents", "ExportSchedule", "ExportStateMachine"),
        ways.bent("incidents-UserPool", "incidents-RestApi"),
        ways.bent("incidents-StreamFunction", "incidents-AlertsTopic", leaves_at=0.2, enters_at=0.75),
        *ways.within(traffic, "SensorType", "MessagesRule", "TrafficStream", "LiveFunction", "TrafficTable"),
        *ways.within(traffic, "TrafficTable", "RelayFunction", "EventBus", "AlertsFunction", "AlertsTopic"),
        *ways.within(traffic, "WatchFunction", "TrafficTable", both=True),
        ways.bent(f"{traffic}-TrafficStream", f"{traffic}-ArchiveFunction"),
        ways.across("incidents", raw, level=raw, label="changes"),
        ways.bent(traffic, raw, label="readings", leaves_at=0.25, enters_at=0.8),
        ways.across("foundation", "dagster", level="layer-raw", label="layers", both=True),
        ways.across("foundation", "analytics", level="analytics", label="queried"),
        *ways.within("layer", "source", "raw", "cleaned", "quality_checked", "curated"),
        *ways.within("layer", "cleaned", "rejected"),
        *ways.within("layer", "quality_checked", "encrypted"),
        ways.bent("layer-quality_checked", "layer-questions", leaves_at=0.75),
        ways.down("group-catalog", "analytics", label="registers tables"),
        *ways.within("analytics", "CuratedDatabase", "WorkGroup", "BusinessLicencesDashboard"),
        ways.down("foundation", "replica", label="copies"),
    )


class _Ways:
    """Arrows between boxes, by where the boxes lie."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._boxes = {one.key: one for one in boxes}

    def within(self, frame: str, *names: str, both: bool = False) -> Iterator[Arrow]:
        """From each to the next, which lies beside, above or below it."""
        for start, end in pairwise(f"{frame}-{name}" for name in names):
            leaves, enters = self._facing(self._boxes[start], self._boxes[end])
            yield Arrow(start, end, leaves, enters, both=both)

    def across(self, start: str, end: str, *, level: str, label: str, both: bool = False) -> Arrow:
        """Straight to the right, at the height of the middle of `level`."""
        y = self._boxes[level].at("left")[1]
        places = [(y - one.y) / one.height for one in (self._boxes[start], self._boxes[end])]
        return Arrow(start, end, "right", "left", label, places[0], places[1], both=both)

    def down(self, start: str, end: str, *, label: str) -> Arrow:
        """Straight down from the middle of the upper one."""
        x, under = self._boxes[start].at("bottom")[0], self._boxes[end]
        return Arrow(start, end, "bottom", "top", label, enters_at=(x - under.x) / under.width)

    def bent(
        self, start: str, end: str, *, label: str = "", leaves_at: float | None = None, enters_at: float | None = None
    ) -> Arrow:
        """With two corners, in the middle of the gap: between rows where they lie in different ones of a frame."""
        one, other = self._boxes[start], self._boxes[end]
        if one.frame:
            (x, y), (to_x, to_y) = one.at("right", leaves_at), other.at("left", enters_at)
            turn = x + (other.x - _PAD - x) / 2
            return Arrow(start, end, "right", "left", label, leaves_at, enters_at, ((turn, y), (turn, to_y)))
        above = one.y < other.y
        leaves, enters = ("bottom", "top") if above else ("top", "bottom" if other.y < one.y else "top")
        (x, y), (to_x, to_y) = one.at(leaves, leaves_at), other.at(enters, enters_at)
        turn = (y + to_y) / 2 if y != to_y else y - _GAP_Y / 2
        return Arrow(start, end, leaves, enters, label, leaves_at, enters_at, ((x, turn), (to_x, turn)))

    @staticmethod
    def _facing(one: Box, other: Box) -> tuple[str, str]:
        if one.y == other.y:
            return ("right", "left") if one.x < other.x else ("left", "right")
        return ("bottom", "top") if one.y < other.y else ("top", "bottom")

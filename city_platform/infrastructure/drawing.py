"""A diagram of boxes in frames, as draw.io's XML (uncompressed mxGraph, to be edited) and as SVG (to be looked at).

The layout is the diagram's own; both forms have the same boxes at the same places. Sizes are pixels, y grows downwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Point = tuple[float, float]
_INK, _SOFT, _LINE, _PAPER = "#1f2933", "#52606d", "#7b8794", "#ffffff"
_FONT = "Helvetica, Arial, sans-serif"
_SIDES: Mapping[str, Point] = {"left": (0, 0.5), "right": (1, 0.5), "top": (0.5, 0), "bottom": (0.5, 1)}
_HEADING = 58  # of the page, above everything
_ROUND = 6


@dataclass(frozen=True, slots=True)
class Box:
    """A box, or a frame where others lie in it. `names` says what it stands for; `note` is the small line below."""

    key: str
    label: str
    note: str
    names: str
    colour: str
    x: float
    y: float
    width: float
    height: float
    frame: bool = False

    def at(self, side: str, along: float | None = None) -> Point:
        """A point on the border, in its middle or `along` it (0 to 1)."""
        across, down = _share(side, along)
        return self.x + across * self.width, self.y + down * self.height


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box's side to another's; sides are `left`, `right`, `top`, `bottom`, with a place along them if need be.

    `via` are its corners. `both` has a head at either end.
    """

    start: str
    end: str
    leaves: str
    enters: str
    label: str = ""
    leaves_at: float | None = None
    enters_at: float | None = None
    via: tuple[Point, ...] = ()
    both: bool = False


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes with each frame before what lies in it."""

    title: str
    subtitle: str
    width: int
    height: int
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]


def drawio(diagram: Diagram) -> str:
    """The diagram as a file of draw.io; each box is an `object` that says in `names` what it stands for."""
    lines = [
        '<mxfile host="city-platform">',
        f'  <diagram id="architecture" name="{escape(diagram.title)}">',
        f'    <mxGraphModel grid="1" gridSize="2" page="1" pageWidth="{diagram.width}" pageHeight="{diagram.height}">',
        "      <root>",
        '        <mxCell id="0"/>',
        '        <mxCell id="1" parent="0"/>',
        *(f"        {line}" for line in _drawio_heading(diagram)),
        *(f"        {line}" for box in diagram.boxes for line in _drawio_box(box)),
        *(f"        {line}" for number, arrow in enumerate(diagram.arrows, 1) for line in _drawio_arrow(number, arrow)),
        "      </root>",
        "    </mxGraphModel>",
        "  </diagram>",
        "</mxfile>",
    ]
    return "\n".join(lines) + "\n"


def svg(diagram: Diagram) -> str:
    """The diagram as a picture that needs nothing else."""
    by_key, width, height = {one.key: one for one in diagram.boxes}, diagram.width, diagram.height
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" ',
        f'font-family="{_FONT}" role="img" aria-label="{escape(diagram.title)}">',
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
        f'<text x="40" y="46" font-size="24" font-weight="700" fill="{_INK}">{escape(diagram.title)}</text>',
        f'<text x="40" y="72" font-size="13" fill="{_SOFT}">{escape(diagram.subtitle)}</text>',
        *(line for box in diagram.boxes for line in _svg_box(box)),
        *(line for arrow in diagram.arrows for line in _svg_arrow(arrow, by_key)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _share(side: str, along: float | None) -> Point:
    across, down = _SIDES[side]
    if along is None:
        return across, down
    return (across, along) if side in {"left", "right"} else (along, down)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _drawio_heading(diagram: Diagram) -> Iterator[str]:
    text = f"&lt;b style='font-size:24px'&gt;{escape(diagram.title)}&lt;/b&gt;&lt;br&gt;{escape(diagram.subtitle)}"
    style = f"text;html=1;align=left;verticalAlign=middle;fontColor={_INK};fontSize=13;"
    yield f'<mxCell id="heading" value="{text}" style="{style}" vertex="1" parent="1">'
    yield f'  <mxGeometry x="40" y="22" width="{diagram.width - 80}" height="{_HEADING}" as="geometry"/>'
    yield "</mxCell>"


def _drawio_box(box: Box) -> Iterator[str]:
    small = f"<br><span style='font-size:10px;color:{_SOFT}'>{escape(box.note)}</span>" if box.note else ""
    label = escape(f"<b>{escape(box.label)}</b>{small}")
    place = "verticalAlign=top;align=left;spacingLeft=8;spacingTop=2;" if box.frame else "verticalAlign=middle;"
    look = f"fillColor={box.colour};fillOpacity=7;" if box.frame else f"fillColor={_PAPER};strokeWidth=1.5;"
    style = f"rounded=1;arcSize=6;html=1;whiteSpace=wrap;strokeColor={box.colour};fontColor={_INK};{place}{look}"
    size = " ".join(
        f'{name}="{_number(value)}"'
        for name, value in (("x", box.x), ("y", box.y), ("width", box.width), ("height", box.height))
    )
    yield f'<object id="{box.key}" label="{label}" names="{escape(box.names)}">'
    yield f'  <mxCell style="{style}" vertex="1" parent="1"><mxGeometry {size} as="geometry"/></mxCell>'
    yield "</object>"


def _drawio_arrow(number: int, arrow: Arrow) -> Iterator[str]:
    ends = {"exit": _share(arrow.leaves, arrow.leaves_at), "entry": _share(arrow.enters, arrow.enters_at)}
    places = "".join(f"{name}X={_number(across)};{name}Y={_number(down)};" for name, (across, down) in ends.items())
    heads = "startArrow=block;startFill=1;" if arrow.both else ""
    style = (
        f"edgeStyle=orthogonalEdgeStyle;rounded=1;html=1;endArrow=block;endFill=1;strokeColor={_LINE};"
        f"fontColor={_SOFT};fontSize=10;labelBackgroundColor={_PAPER};{heads}{places}"
    )
    yield (
        f'<mxCell id="arrow-{number}" value="{escape(arrow.label)}" style="{style}" edge="1" parent="1" '
        f'source="{arrow.start}" target="{arrow.end}">'
    )
    points = "".join(f'<mxPoint x="{_number(x)}" y="{_number(y)}"/>' for x, y in arrow.via)
    inside = f'<Array as="points">{points}</Array>' if points else ""
    yield f'  <mxGeometry relative="1" as="geometry">{inside}</mxGeometry>'
    yield "</mxCell>"


def _svg_box(box: Box) -> Iterator[str]:
    x, y, width, height = (_number(one) for one in (box.x, box.y, box.width, box.height))
    inside = f'fill="{box.colour}" fill-opacity="0.07"' if box.frame else f'fill="{_PAPER}"'
    stroke = 'stroke-width="1.2"' if box.frame else 'stroke-width="1"'
    drawn = f'rx="{_ROUND}" {inside} stroke="{box.colour}" {stroke}'
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {drawn}/>'
    if box.frame:
        left = _number(box.x + 12)
        yield _text(left, box.y + 20, 13, box.label, box.colour, bold=True)
        yield _text(left, box.y + 34, 10, box.note, _SOFT)
        return
    yield f'<rect x="{x}" y="{y}" width="5" height="{height}" rx="2" fill="{box.colour}"/>'
    left = _number(box.x + 14)
    middle = box.y + box.height / 2
    yield _text(left, middle - 3, 11.5, box.label, _INK, bold=True)
    yield _text(left, middle + 12, 10, box.note, _SOFT)


def _text(left: str, y: float, size: float, text: str, colour: str, *, bold: bool = False) -> str:
    weight = ' font-weight="700"' if bold else ""
    return f'<text x="{left}" y="{_number(y)}" font-size="{size}"{weight} fill="{colour}">{escape(text)}</text>'


def _svg_arrow(arrow: Arrow, boxes: Mapping[str, Box]) -> Iterator[str]:
    start = boxes[arrow.start].at(arrow.leaves, arrow.leaves_at)
    end = boxes[arrow.end].at(arrow.enters, arrow.enters_at)
    points = [start, *arrow.via, end]
    path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{_LINE}" stroke-width="1.4"/>'
    yield _head(points[-2], end)
    if arrow.both:
        yield _head(points[1], start)
    if arrow.label:
        longest = max(pairwise(points), key=lambda pair: _length(*pair))
        yield from _label(arrow.label, *longest)


def _length(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _head(before: Point, tip: Point) -> str:
    """A triangle at `tip`, looking away from `before`; arrows run along the axes."""
    (x, y), size = tip, 7
    across, down = _sign(tip[0] - before[0]), _sign(tip[1] - before[1])
    back = (x - across * size, y - down * size)
    wide = size * 0.55
    corners = [tip, (back[0] + down * wide, back[1] + across * wide), (back[0] - down * wide, back[1] - across * wide)]
    return f'<polygon points="{" ".join(f"{_number(a)},{_number(b)}" for a, b in corners)}" fill="{_LINE}"/>'


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _label(label: str, start: Point, end: Point) -> Iterator[str]:
    """A label over the middle of a line, on paper of its own."""
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    width = 5.4 * len(label) + 6
    left, top = _number(x - width / 2), _number(y - 7)
    yield f'<rect x="{left}" y="{top}" width="{_number(width)}" height="14" fill="{_PAPER}"/>'
    yield (
        f'<text x="{_number(x)}" y="{_number(y + 3.5)}" font-size="10" text-anchor="middle" fill="{_SOFT}">'
        f"{escape(label)}</text>"
    )

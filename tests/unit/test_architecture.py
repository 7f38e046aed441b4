"""The architecture diagram: every stack has a frame, every box stands for something that is there, nothing overlaps."""

from itertools import combinations, pairwise
from xml.etree import ElementTree as ET

import pytest

from city_platform.infrastructure.architecture import architecture
from city_platform.infrastructure.drawing import Box, Diagram, drawio, svg
from tests.templates import FOLDER, template

DIAGRAM = architecture()
BY_KEY = {one.key: one for one in DIAGRAM.boxes}
TEMPLATES = sorted(file.stem for file in FOLDER.glob("*.yaml") if "\nResources:" in file.read_text("utf-8"))


def inside(box: Box, frame: Box) -> bool:
    across = frame.x <= box.x and box.x + box.width <= frame.x + frame.width
    return across and frame.y <= box.y and box.y + box.height <= frame.y + frame.height


def overlap(one: Box, other: Box) -> bool:
    across = one.x < other.x + other.width and other.x < one.x + one.width
    return across and one.y < other.y + other.height and other.y < one.y + one.height


def test_every_stack_has_a_frame_and_every_frame_a_stack() -> None:
    assert sorted(one.names for one in DIAGRAM.boxes if one.frame) == [f"template {name}" for name in TEMPLATES]


def test_a_resource_is_one_of_its_template_and_lies_in_its_frame() -> None:
    shown = [(one, one.names.split()[1:]) for one in DIAGRAM.boxes if one.names.startswith("resource ")]
    assert len(shown) > 50
    for box, (stack, name) in shown:
        assert name in {one.name for one in template(stack).resources()}, box.names
        assert inside(box, BY_KEY[stack]), box.names


def test_boxes_lie_in_one_frame_beside_each_other_and_hold_their_words() -> None:
    frames = [one for one in DIAGRAM.boxes if one.frame]
    boxes = [one for one in DIAGRAM.boxes if not one.frame]
    assert all(sum(inside(box, frame) for frame in frames) == 1 for box in boxes)
    assert not [(a.key, b.key) for a, b in [*combinations(frames, 2), *combinations(boxes, 2)] if overlap(a, b)]
    assert [one.label for one in boxes if max(len(one.label), len(one.note) * 0.85) > 17] == []


def test_arrows_run_along_the_axes_between_boxes_of_the_diagram() -> None:
    for arrow in DIAGRAM.arrows:
        start, end = BY_KEY[arrow.start], BY_KEY[arrow.end]
        way = [start.at(arrow.leaves, arrow.leaves_at), *arrow.via, end.at(arrow.enters, arrow.enters_at)]
        assert all(a[0] == pytest.approx(b[0]) or a[1] == pytest.approx(b[1]) for a, b in pairwise(way)), arrow


def test_the_file_of_drawio_holds_every_box_at_its_place_and_every_arrow() -> None:
    root = ET.fromstring(drawio(DIAGRAM))  # noqa: S314 - our own text
    for box in DIAGRAM.boxes:
        found = root.find(f".//object[@id='{box.key}']")
        assert found is not None
        assert found.get("names") == box.names
        geometry = found.find("mxCell/mxGeometry")
        assert geometry is not None
        placed = [float(geometry.get(name, "")) for name in ("x", "y", "width", "height")]
        assert placed == pytest.approx([box.x, box.y, box.width, box.height], abs=0.01)
    ends = [(one.get("source"), one.get("target")) for one in root.iter("mxCell") if one.get("edge")]
    assert ends == [(one.start, one.end) for one in DIAGRAM.arrows]


def test_words_of_a_diagram_are_escaped_in_both_forms() -> None:
    box = Box("a", "<R&D>", "\"x\" & 'y'", "template a", "#000000", 0, 0, 10, 10)
    tiny = Diagram("A & <B>", "", 20, 20, [box], [])
    label = ET.fromstring(drawio(tiny)).find(".//object").get("label")  # type: ignore[union-attr]  # noqa: S314
    assert "&lt;R&amp;D&gt;" in str(label)
    assert "<R&D>" in [one.text for one in ET.fromstring(svg(tiny)).iter() if one.text]  # noqa: S314

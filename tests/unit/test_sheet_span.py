"""A kilobyte of workbook that spans more cells than fit into memory is refused before it is read."""

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.ingestion import sheet_span
from city_platform.ingestion.formats import UnreadableSource, recognise
from city_platform.ingestion.sheet_span import spanned

CORNERS = '<row r="1"><c r="A1" t="str"><v>id</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
UNPLACED = f"<row>{'<c/>' * 16_384}</row>{'<row/>' * 4_000}"


def workbook(sheet: str) -> io.BytesIO:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet><sheetData>{sheet}</sheetData></worksheet>")
    return packed


def span(sheet: str) -> int:
    with zipfile.ZipFile(workbook(sheet)) as archive:
        return spanned(archive)


@pytest.mark.parametrize(
    "sheet",
    [
        CORNERS,
        CORNERS.replace("<c ", "<x:c ").replace("<row ", "<x:row "),
        CORNERS.replace('r="', "s='1' r = '").replace('"', "'"),
        CORNERS.replace("XFD1048576", "xfd1048576"),
        CORNERS.replace("<c ", f"<c{' ' * (1 << 20)}"),  # across the pieces in which a part is read
        UNPLACED,
    ],
)
def test_two_far_corners_are_refused(tmp_path: Path, sheet: str) -> None:
    file = tmp_path / "corners.xlsx"
    file.write_bytes(workbook(sheet).getvalue())
    with pytest.raises(UnreadableSource, match=r"spans [0-9,]+ cells; .* Export the sheet as CSV"):
        recognise(file)


_PARTS = (
    "<c r=", "<c", " r=", '"A1"', '"XFD1048576"', "'b2'", '"AAAA1"', '"A12345678"', '"A0"', '"1"', '"7"', ">", "/>",
    "<row r=", "<row", "<rows ", "<col ", "<x:c r=", "<x:row ", "</c>", "</row>", " s=", "<v>", "12", "\n", "<",
)  # fmt: skip


@given(st.lists(st.sampled_from(_PARTS), max_size=30).map(lambda parts: "".join(parts).encode()))
def test_looking_as_usual_sees_what_looking_anyhow_sees(text: bytes) -> None:
    quick, thorough = sheet_span._Sheet(), sheet_span._Sheet()
    if quick._look_as_usual(text):
        thorough._look_anyhow(text)
        assert quick == thorough
    else:
        assert quick == sheet_span._Sheet()


def test_what_is_written_as_usual_is_looked_at_as_usual() -> None:
    sheet = sheet_span._Sheet()
    assert sheet._look_as_usual(CORNERS.encode())
    assert sheet.span == 16_384 * 1_048_576
    assert not sheet._look_as_usual(b"<c/>")


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(1, 60), st.integers(20, 500), st.booleans())
def test_a_table_spans_its_rows_times_its_columns(rows: int, columns: int, piece: int, placed: bool) -> None:
    def cell(row: int, column: int) -> str:
        letters = chr(64 + (column - 1) // 26) + chr(65 + (column - 1) % 26) if column > 26 else chr(64 + column)
        return f'<c r="{letters}{row}"><v>1</v></c>' if placed else "<c><v>1</v></c>"

    lines = ("".join(cell(row, column) for column in range(1, columns + 1)) for row in range(1, rows + 1))
    sheet = "".join(f"<row>{line}</row>" for line in lines)
    before, sheet_span._CHUNK_BYTES = sheet_span._CHUNK_BYTES, piece
    try:
        found = span(sheet)
    finally:
        sheet_span._CHUNK_BYTES = before
    assert found == rows * columns if placed else found >= rows * columns


def test_what_a_cell_says_is_no_place() -> None:
    assert span('<row r="1"><c r="A1" t="inlineStr"><is><t>r="XFD1048576"</t></is></c></row>') == 1


def test_what_goes_on_without_a_tag_is_no_sheet(tmp_path: Path) -> None:
    file = tmp_path / "spaces.xlsx"
    file.write_bytes(workbook(f"<row{' ' * (6 << 20)}/>").getvalue())
    with pytest.raises(UnreadableSource, match="cut off or damaged"):
        recognise(file)

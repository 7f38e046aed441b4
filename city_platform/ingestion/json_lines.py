"""Rows of a JSON lines file: one object a line, every value as the text it was written in."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from city_platform.ingestion.formats import refuse_too_wide
from city_platform.ingestion.lines import MAX_LINE_BYTES, NOT_UTF8, Unreadable, physical_lines, text_batch
from city_platform.ingestion.unpacking import create_private

_BATCH_ROWS = 16_384
_BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Spool:
    """All rows of the file, read once: Arrow files, each with the keys known when it was begun."""

    keys: tuple[str, ...]  # in the order of their first appearance
    files: tuple[Path, ...]

    def rows(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of one schema, the keys under these names; a key that a line lacks is null."""
        for file in self.files:
            with pa.ipc.open_stream(str(file)) as reader:
                for batch in reader:
                    columns = [
                        batch.column(place) if place < batch.num_columns else pa.nulls(batch.num_rows, pa.string())
                        for place in range(len(self.keys))
                    ]
                    yield pa.RecordBatch.from_arrays(columns, names=list(names))


def spool_json_lines(path: Path, name: str, folder: Path, unreadable: Unreadable) -> Spool:
    """Reads the file into Arrow files in `folder`, because the last line may bring a key no other has.

    Numbers keep their text (43.0 stays 43.0), true and false are words, null and "" are null, nested values are JSON
    text. Raises UnreadableSource (for the file called `name`) when the keys are too many for a table.
    """
    keys: dict[str, int] = {}
    files: list[Path] = []
    writer: pa.ipc.RecordBatchStreamWriter | None = None
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    try:
        for objects in _objects(path, unreadable):
            known = len(keys)
            for one in objects:
                if not one.keys() <= keys.keys():
                    for key in one:
                        keys.setdefault(key, len(keys))
            refuse_too_wide(name, len(keys))
            if writer is None or len(keys) > known:
                if writer is not None:
                    writer.close()
                files.append(create_private(folder / f"spool-{len(files)}.arrow"))
                schema = pa.schema([(key, pa.string()) for key in keys])
                writer = pa.ipc.new_stream(str(files[-1]), schema, options=options)
            writer.write_batch(text_batch(tuple(keys), [[one.get(key) for one in objects] for key in keys]))
    finally:
        if writer is not None:
            writer.close()
    return Spool(tuple(keys), tuple(files))


def _objects(path: Path, unreadable: Unreadable) -> Iterator[list[dict[str, str | None]]]:
    objects: list[dict[str, str | None]] = []
    size = 0
    for number, line in enumerate(physical_lines(path), 1):
        try:
            one = _texts(line)
        except _BrokenLine as error:
            unreadable.add(number, str(error), [line])
            continue
        if one is None:
            continue
        objects.append(one)
        size += len(line)
        if len(objects) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield objects
            objects, size = [], 0
    if objects:
        yield objects


class _BrokenLine(ValueError):
    """The line is no JSON object; the message is the reason, without values."""


def _texts(line: bytes) -> dict[str, str | None] | None:
    """The object's values as text; None for a blank line."""
    if len(line) > MAX_LINE_BYTES:
        raise _BrokenLine(f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        text = line.decode()
        if not text.strip():
            return None
        one = _LITERAL.decode(text)
        if not isinstance(one, dict):
            raise _BrokenLine("not a JSON object")
        for key, value in one.items():
            if value is True or value is False:
                one[key] = "true" if value else "false"
            elif isinstance(value, dict | list):
                one[key] = json.dumps(json.loads(text)[key], ensure_ascii=False)
        if "\\u" in text:  # an escape may spell half of a surrogate pair, which is no character
            "".join(part for pair in one.items() for part in pair if part).encode()
    except UnicodeError as error:
        raise _BrokenLine(NOT_UTF8) from error
    except json.JSONDecodeError as error:
        raise _BrokenLine(f"not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise _BrokenLine("nested too deeply") from error
    return one


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _BrokenLine("an object has the same key twice")
    return found


_LITERAL = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str)

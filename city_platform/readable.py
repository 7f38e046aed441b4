"""Records as JSON that people can read, made at the speed of the text that machines read.

The standard library writes indented JSON in Python, line by line, which took as long as a small partition's rules; so
it writes the compact text, and that is set out afterwards.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def shallow(record: "DataclassInstance") -> dict[str, Any]:
    """A dataclass's fields by name; unlike `dataclasses.asdict` without copying what they hold."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def readable(body: Mapping[str, Any], *, indent: int, sort_keys: bool = False) -> str:
    """The text of `json.dumps` with these settings, dataclasses as objects and what JSON does not know as texts.

    Raises ValueError for numbers that JSON does not have.
    """
    text = json.dumps(body, ensure_ascii=False, sort_keys=sort_keys, allow_nan=False, default=_plain)
    return msgspec.json.format(text, indent=indent)


def _plain(value: object) -> object:
    return shallow(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

"""What a value in the source can be, as far as who is called through it goes."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Module:
    name: str


@dataclass(frozen=True, slots=True)
class Class:
    """The class itself, as `module:Name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One of a class or of a class that fits it."""

    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method, as `module:name` or `module:Class.name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Many:
    """A container, an iterator or a callable: what it holds, yields or returns, by place where that is known."""

    places: tuple["Types", ...]
    by_place: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """Not ours."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Perhaps ours."""


Type = Module | Class | Instance | Function | Many | Outside | Unknown
Types = frozenset[Type]
OUTSIDE: Types = frozenset({Outside()})
UNKNOWN: Types = frozenset({Unknown()})
NOTHING: Types = frozenset()


def union(parts: Iterable[Types]) -> Types:
    """All that any of them may be."""
    return frozenset().union(*parts)

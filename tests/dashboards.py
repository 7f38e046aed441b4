"""CloudWatch dashboards, read for tests: which metrics a widget draws, by name or found by a search.

Sources: Dashboard body structure and syntax, Amazon CloudWatch API Reference; search expression syntax, User Guide.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.templates import Resource

MOST_SEARCHED = 1024  # characters of a search
_SEARCH = re.compile(r"""SEARCH\('(?P<looked_for>\{[^']*)', '(?P<stat>[\w.]+)', (?P<period>\d+)\)""")
_SCHEMA = re.compile(r"""\{(?:"(?P<quoted>[^"]+)"|(?P<plain>[\w/]+)),(?P<dimensions>[\w,]+)\}\s*(?P<terms>.*)""")
_NAME = re.compile(r"""MetricName=(?:"(?P<exact>[^"]+)"|(?P<words>[\w.]+))""")
_IDENTIFIER = re.compile(r"\b[a-z]\w*\b")


@dataclass(frozen=True)
class Drawn:
    """A metric that a widget draws; `value` of each dimension, or None where a search finds them all."""

    namespace: str
    name: str
    dimensions: Mapping[str, str | None]


@dataclass(frozen=True)
class Widget:
    """One widget of a dashboard."""

    dashboard: str
    body: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.body["properties"]
        return found

    @property
    def lines(self) -> Sequence[list[Any]]:
        return self.properties.get("metrics", [])

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.properties.get('title', self.body['type'])}"

    def drawn(self) -> Iterator[Drawn]:
        """Every metric that is named or searched for; raises ValueError for a search that cannot be read."""
        for line in self.lines:
            if isinstance(line[0], dict):
                yield from searched(line[0]["expression"])
            else:
                namespace, name, *rest = (one for one in line if not isinstance(one, dict))
                yield Drawn(namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))

    def ids(self) -> Sequence[str]:
        """Of its lines, in order; a line without one has none."""
        return [one["id"] for line in self.lines for one in line if isinstance(one, dict) and "id" in one]

    def named_in_expressions(self) -> set[str]:
        """The ids that its expressions calculate with."""
        expressions = (line[0]["expression"] for line in self.lines if isinstance(line[0], dict))
        return {word for one in expressions for word in _IDENTIFIER.findall(_SEARCH.sub("", one))}


def searched(expression: str) -> Iterator[Drawn]:
    """The metrics that an expression searches for."""
    if expression.count("SEARCH") != len(_SEARCH.findall(expression)):
        raise ValueError(f"a search of another form: {expression}")
    for found in _SEARCH.finditer(expression):
        schema = _SCHEMA.fullmatch(found["looked_for"])
        if schema is None or len(found["looked_for"]) > MOST_SEARCHED:
            raise ValueError(f"a search of another form, or too long: {expression}")
        name = _NAME.search(schema["terms"])
        if name is None:
            raise ValueError(f"a search for no metric: {expression}")
        values = dict.fromkeys(schema["dimensions"].split(","))
        terms = re.findall(r'(\w+)="?([^"\s)]+)"?', schema["terms"])
        said: dict[str, str | None] = {word: value for word, value in terms if word != "MetricName"}
        if unknown := set(said) - set(values):
            raise ValueError(f"the search names {sorted(unknown)}, which its schema has not: {expression}")
        yield Drawn(schema["quoted"] or schema["plain"], name["exact"] or name["words"], values | said)


def widgets(dashboard: Resource) -> Sequence[Widget]:
    """Of a resolved AWS::CloudWatch::Dashboard."""
    body = json.loads(dashboard.properties["DashboardBody"])
    return [Widget(dashboard.name, one) for one in body["widgets"]]

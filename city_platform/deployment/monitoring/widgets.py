"""Widgets of a CloudWatch dashboard, laid out from left to right and top to bottom.

Texts are those of `Fn::Sub`: `${Environment}` stands for the parameter. Source: Dashboard body structure and syntax,
Amazon CloudWatch API Reference; CloudWatch search expression syntax, Amazon CloudWatch User Guide.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS, HEIGHT = 24, 6
Line = list[Any]  # one entry of a widget's metrics
Schema = tuple[str, tuple[str, ...]]  # a namespace, and the dimensions of its metrics that are meant

FIVE_MINUTES, HALF_AN_HOUR, HOUR, DAY = 300, 1800, 3600, 86400


def metric(namespace: str, name: str, of: Mapping[str, str], **options: object) -> Line:
    """One metric; options as the dashboard has them: stat, label, id, visible, yAxis."""
    return [namespace, name, *(word for pair in of.items() for word in pair), *([options] if options else [])]


def search(
    schema: Schema, name: str, stat: str, period: int, *terms: str, exact: bool = True, **options: object
) -> Line:
    """Every metric of the schema with this name that the terms find; without `exact`, with the name's words in it."""
    namespace, dimensions = schema
    wanted = f'MetricName="{name}"' if exact else f"MetricName={name}"
    looked_for = " ".join([f'{{"{namespace}",{",".join(dimensions)}}}', wanted, *terms])
    return [{"id": "found", "expression": f"SEARCH('{looked_for}', '{stat}', {period})"} | options]


def calculated(name: str, expression: str, label: str = "", **options: object) -> Line:
    """A line made of others, by their ids."""
    return [{"id": name, "expression": expression, "label": label} | options]


@dataclass(slots=True)
class Board:
    """A dashboard in the making."""

    widgets: list[dict[str, Any]] = field(default_factory=list)
    _x: int = 0
    _y: int = 0

    def heading(self, text: str) -> None:
        """Begins a part of its own."""
        self._next_row()
        self._add("text", COLUMNS, 1, {"markdown": f"## {text}"})

    def alarms(self, arns: Sequence[str]) -> None:
        self._add("alarm", COLUMNS, 2, {"title": "Alarms", "alarms": list(arns)})

    def chart(
        self, title: str, *lines: Line, stat: str = "Sum", period: int = FIVE_MINUTES, width: int = 8, **more: object
    ) -> None:
        """Lines over time; `more` are other properties of the widget."""
        common = {"title": title, "region": "${AWS::Region}", "view": "timeSeries", "period": period, "stat": stat}
        self._add("metric", width, HEIGHT, common | more | {"metrics": list(lines)})

    def answer(self, title: str, groups: Sequence[str], *query: str) -> None:
        """What CloudWatch Logs Insights says of these log groups, over time."""
        words = " | ".join([*(f"SOURCE '{group}'" for group in groups), *query])
        self._add("log", 8, HEIGHT, {"title": title, "region": "${AWS::Region}", "view": "timeSeries", "query": words})

    def body(self) -> str:
        """The dashboard as JSON, a line a widget's properties and a line a metric."""
        return '{"periodOverride": "inherit", "widgets": [\n' + ",\n".join(map(_text, self.widgets)) + "\n]}"

    def _add(self, kind: str, width: int, height: int, properties: Mapping[str, Any]) -> None:
        if self._x + width > COLUMNS:
            self._next_row()
        place = {"type": kind, "x": self._x, "y": self._y, "width": width, "height": height}
        self.widgets.append(place | {"properties": properties})
        self._x += width
        if self._x == COLUMNS:
            self._x, self._y = 0, self._y + height

    def _next_row(self) -> None:
        # Rows of charts are the only ones that can be unfinished.
        if self._x:
            self._x, self._y = 0, self._y + HEIGHT


def _text(widget: Mapping[str, Any]) -> str:
    place = json.dumps({name: value for name, value in widget.items() if name != "properties"})
    properties = dict(widget["properties"])
    lines = properties.pop("metrics", None)
    text = json.dumps(properties)
    if lines is not None:
        drawn = ",\n    ".join(map(json.dumps, lines))
        text = f'{text[:-1]},\n  "metrics": [\n    {drawn}\n  ]}}'
    return f'{place[:-1]}, "properties":\n  {text}}}'

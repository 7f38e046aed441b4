"""The schemas of all events: the documents that the package has, and the same as the template of the registry has them,
in JSON Schema draft 4, which EventBridge takes.

    python -m city_platform.deployment.event_schemas infrastructure/iot-analytics-system.yaml

writes both, the latter between the template's two marks. Source: Schemas, Amazon EventBridge User Guide.
"""

import json
import sys
import textwrap
from importlib.resources import files
from pathlib import Path
from typing import Any

from city_platform.errors import PermanentError
from city_platform.event_types import TYPES, schema

BEGIN, END = "  # <event schemas>\n", "  # </event schemas>\n"
_DRAFT_4 = "http://json-schema.org/draft-04/schema#"
_WIDTH = 108  # of a line of JSON; ten more are its indent
_RESOURCE = """\
  {name}Schema:
    Type: AWS::EventSchemas::Schema
    Properties:
      RegistryName: !GetAtt SchemaRegistry.RegistryName
      SchemaName: {source}@{name}
      Description: The detail of {name}, version 1.
      Type: JSONSchemaDraft4
      Content: >-
{content}
      Tags: [{{Key: Project, Value: !Ref Project}}, {{Key: Environment, Value: !Ref Environment}}, \
{{Key: DataClassification, Value: internal}}]

"""


class NoMarks(PermanentError):
    """A template has no place for the schemas."""


def draft_4(detail_type: str) -> dict[str, Any]:
    """The schema of a detail in draft 4: it has `definitions`, and nothing beside a `$ref` counts in it."""
    document = schema(detail_type)
    moved = json.loads(json.dumps(document).replace("#/$defs/", "#/definitions/"))
    definitions, reference = moved.pop("$defs"), moved.pop("$ref")
    return {**moved, "$schema": _DRAFT_4, "allOf": [{"$ref": reference}], "definitions": definitions}


def resources() -> str:
    """The template's resources, one for each event type, as YAML."""
    made = []
    for name, kind in sorted(TYPES.items()):
        # A folded block puts one space for each end of a line, which is what was there.
        lines = textwrap.wrap(json.dumps(draft_4(name)), _WIDTH, break_long_words=False, break_on_hyphens=False)
        made.append(_RESOURCE.format(name=name, source=kind.SOURCE, content=textwrap.indent("\n".join(lines), " " * 8)))
    return "".join(made)


def written(template: str) -> str:
    """The template's text with the schemas between its marks. Raises NoMarks."""
    before, begin, rest = template.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NoMarks(f"the template needs the lines {BEGIN.strip()!r} and {END.strip()!r} around its schemas")
    return f"{before}{BEGIN}{resources()}{END}{after}"


def document(detail_type: str) -> str:
    """The text of the schema in the package."""
    return json.dumps(schema(detail_type), indent=2) + "\n"


def main(file: Path) -> None:
    """Brings the package's documents and the template up to date."""
    for name in TYPES:
        Path(str(files("city_platform.event_types") / "schemas" / f"{name}.json")).write_text(document(name), "utf-8")
    file.write_text(written(file.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

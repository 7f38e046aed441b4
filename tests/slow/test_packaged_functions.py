"""The handlers do with what is packaged: called in a process that finds nothing else of what is installed here."""

import tomllib
from pathlib import Path

from city_platform.infrastructure import package
from tests.conftest import ROOT
from tests.packaged import HANDLERS, run, without_the_rest


def test_the_handlers_do_with_what_is_packaged(tmp_path: Path) -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    found = package.distributions(package.imported(ROOT, HANDLERS), lock)
    answers = run(without_the_rest(found, package._LEFT_OUT.pattern), tmp_path, isolated=False)
    assert answers["POST /v1/incidents"] == 201
    assert {one for one, status in answers.items() if one.startswith("GET") and status != 200} == set()
    assert answers["POST /graphql"] == 200
    assert answers["POST /report"] == 400  # taken apart, and its fields are missing
    assert not {"duckdb", "dagster", "pandas", "sqlglot"} & set(answers["loaded"])

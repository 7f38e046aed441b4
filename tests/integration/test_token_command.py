"""`city-platform token`: a token that the API on this machine takes, and calls that are refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from city_platform.api.composition import open_verifier
from city_platform.cli.serve import app
from city_platform.incidents.roles import Role
from city_platform.local.clock import SystemClock


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CITY_PLATFORM_DEPLOYMENT", raising=False)


def token(home: Path, *options: str) -> tuple[int, dict[str, str]]:
    done = CliRunner().invoke(app, ["token", "--home", str(home), "--json", *options])
    return done.exit_code, json.loads(done.stdout) if done.stdout else {}


def test_a_token_names_its_owner_roles_and_districts(tmp_path: Path) -> None:
    code, said = token(tmp_path, "--as", "jo", "--role", "officer", "--district", "sunset", "--district", "downtown")
    assert code == 0
    actor = open_verifier(tmp_path, {}, SystemClock()).actor(said["token"])
    assert (actor.subject, actor.roles) == ("jo", {Role.CITIZEN, Role.OFFICER})
    assert actor.districts == {"sunset", "downtown"}
    assert token(tmp_path, "--rotate") == (0, {})
    assert open_verifier(tmp_path, {}, SystemClock()).actor(said["token"]) == actor


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--as NAME"),
        (("--as", "jo", "--role", "system", "--district", "atlantis"), "there is no role 'system'"),
        (("--as", "jo", "--district", "atlantis"), "there is no district 'atlantis'"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    code, body = token(tmp_path, *options)
    assert (code, said in body["error"]) == (2, True)
    assert not (tmp_path / "keys").exists()


def test_another_deployment_has_its_identity_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_DEPLOYMENT", "aws")
    assert token(tmp_path, "--as", "jo")[0] == 2

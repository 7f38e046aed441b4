"""Rotating a dataset's keys: readers never notice, who is killed goes on, and old keys end when nothing needs them."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from botocore.exceptions import ClientError

import runner
from city_platform.aws.keys import PREVIOUS, KmsKeyService
from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset
from city_platform.lake.lake import PublishedMeanwhile
from city_platform.lake.pruning import KEY_IDS
from city_platform.layers import encrypted, old_versions, rotation
from city_platform.layers.platform import Platform
from city_platform.local.keys import LocalKeyService
from city_platform.local.platform import local_key_service, local_platform
from city_platform.ports import KeyNotFound, WrongKey
from city_platform.protection.classification import master_keys
from city_platform.protection.encryption import KEY_MATERIAL_PREFIX, read_encrypted
from city_platform.protection.masking import pseudonym_key
from tests.integration.conftest import REGION
from tests.integration.test_command import call_here
from tests.integration.test_old_versions import SOON, YEAR, killed_at, make
from tests.town import StandingClock

INTERNAL, PERSONAL = master_keys("trees")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, trees: Dataset) -> Path:
    """A home with one year."""
    folder = tmp_path_factory.mktemp("made")
    platform = local_platform(folder / "home", StandingClock(), threads=2)
    make(platform, trees, folder / "trees.csv", 20)
    pseudonym_key(platform.keys, platform.lake.store, "trees")
    return folder / "home"


@pytest.fixture
def town(made: Path, home: Path, platform: Platform, clock: StandingClock) -> Platform:
    shutil.copytree(made, home)
    clock.time = SOON
    return platform


@pytest.fixture
def keys(town: Platform, home: Path) -> LocalKeyService:
    assert town.keys
    return local_key_service(home)


def rotate(platform: Platform, versions: LocalKeyService | None, *classifications: Classification) -> rotation.Rotation:
    chosen = classifications or (Classification.INTERNAL, Classification.PERSONAL)
    return rotation.rotate(platform, "trees", chosen, account="tester", versions=versions)


def rows(platform: Platform, trees: Dataset) -> int:
    return int(encrypted.read(platform, trees, YEAR).read_all().num_rows)


def versions(keys: LocalKeyService) -> dict[str, int]:
    return {one.name: one.version for one in keys.keys()}  # noqa: SIM118 -- not a mapping


def test_a_rotation_renews_the_wrapping_alone_and_readers_of_before_go_on(
    town: Platform, trees: Dataset, keys: LocalKeyService
) -> None:
    before = town.lake.require("encrypted", "trees", YEAR)
    files = town.lake.paths(before, "rows")
    secret = pseudonym_key(town.keys, town.lake.store, "trees")
    done = rotate(town, keys)
    assert (done.resumed, done.partitions, done.older) == (False, (YEAR,), 1)
    assert versions(keys) == {INTERNAL: 2, PERSONAL: 2}
    after = town.lake.require("encrypted", "trees", YEAR)
    assert after.inputs == before.inputs  # so nothing is made again for it
    assert after.details[KEY_IDS] == done.keys == {key: keys.current(key) for key in (INTERNAL, PERSONAL)}
    assert all(one.endswith("/2") for one in done.keys.values())
    assert [one for one in after.files if KEY_MATERIAL_PREFIX not in one.key] == [before.files[0]]
    assert rows(town, trees) == 20
    reader = read_encrypted(files, dataset="trees", partition=YEAR, keys=town.keys)
    assert reader.read_all() == encrypted.read(town, trees, YEAR).read_all()
    assert pseudonym_key(town.keys, town.lake.store, "trees") == secret
    began, ended = town.audit.read().entries
    assert (began.action, ended.action) == ("rotate keys", "keys rotated")
    assert began.facts["keys"] == before.details[KEY_IDS]
    assert ended.facts["keys"] == done.keys


@pytest.mark.usefixtures("town")
def test_the_command_shows_in_the_graph_what_the_partitions_are_under(
    trees: Dataset, keys: LocalKeyService, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "datasets").symlink_to(trees.folder.parent)
    monkeypatch.setattr("city_platform.cli.session.CHECKOUT", tmp_path)
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    code, told = call_here("keys", "rotate", "trees")
    assert (code, told["partitions"], told["resumed"]) == (0, [YEAR], False)
    instance = runner._instance(home)
    (observed,) = instance.fetch_observations(dg.AssetKey(["trees", "encrypted"]), limit=9).records
    assert observed.partition_key == YEAR
    observation = observed.asset_observation
    assert observation is not None
    shown = {name: one.value for name, one in observation.metadata.items()}
    assert shown == {f"key id/{key}": keys.current(key) for key in (INTERNAL, PERSONAL)}


def test_one_of_the_keys_can_be_rotated_alone(town: Platform, trees: Dataset, keys: LocalKeyService) -> None:
    assert list(rotate(town, keys, Classification.PERSONAL).keys) == [PERSONAL]
    assert versions(keys) == {INTERNAL: 1, PERSONAL: 2}
    assert rows(town, trees) == 20


def test_what_was_written_late_under_the_older_version_is_renewed_without_a_new_one(
    town: Platform, trees: Dataset, keys: LocalKeyService
) -> None:
    keys.rotate(PERSONAL)
    assert rotate(town, keys).resumed
    assert versions(keys) == {INTERNAL: 1, PERSONAL: 2}
    assert not rotate(town, keys).resumed
    assert versions(keys) == {INTERNAL: 2, PERSONAL: 3}
    assert rows(town, trees) == 20


def test_a_partition_that_others_publish_meanwhile_is_looked_at_again(
    town: Platform, trees: Dataset, keys: LocalKeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap_anew = rotation.wrap_anew
    disturbances = iter([partial(encrypted.materialize, town, trees, YEAR), None])

    def disturbed(*arguments: Any, **options: Any) -> Any:
        if disturbance := next(disturbances, None):
            disturbance()
        return wrap_anew(*arguments, **options)

    monkeypatch.setattr(rotation, "wrap_anew", disturbed)
    rotate(town, keys)
    newest = town.lake.require("encrypted", "trees", YEAR)
    assert newest.sequence == 2  # what was made meanwhile is under the new version already
    assert newest.details[KEY_IDS] == {key: keys.current(key) for key in (INTERNAL, PERSONAL)}
    disturbances = iter([partial(town.lake.renumber, "encrypted", "trees", YEAR)] * 99)
    with pytest.raises(PublishedMeanwhile):
        rotate(town, keys)


def test_old_keys_end_when_pruning_has_removed_what_was_under_them(
    town: Platform, trees: Dataset, keys: LocalKeyService, home: Path, clock: StandingClock
) -> None:
    old = town.lake.require("encrypted", "trees", YEAR)
    sealed = town.lake.store.get("protection/trees/pseudonym-key")
    rotate(town, keys)
    with pytest.raises(rotation.KeyVersionInUse) as refused:
        rotation.retire(town, "trees", account="tester", versions=keys)
    assert ["wait until" in use for use in refused.value.uses] == [True, False]
    assert old.version in refused.value.uses[1]
    clock.time += timedelta(days=1)
    (told,) = old_versions.prune(town, [trees], account="tester")  # keeps three versions and thirty days
    assert (told.versions, told.files) == ({"encrypted": 1}, 1)  # the older key material, and no data
    town.lake.store.put("protection/trees/pseudonym-key", sealed)
    with pytest.raises(rotation.KeyVersionInUse, match="pseudonyms"):
        rotation.retire(town, "trees", account="tester", versions=keys)
    rotate(town, keys)
    clock.time += timedelta(days=1)
    list(old_versions.prune(town, [trees], account="tester"))
    assert rotation.retire(town, "trees", account="tester", versions=keys) == {INTERNAL: 2, PERSONAL: 2}
    assert rows(town, trees) == 20
    assert town.audit.read().entries[-1].action == "retire keys"
    again = local_platform(home, clock)
    with pytest.raises(WrongKey):
        again.keys.decrypt(PERSONAL, sealed, {"dataset": "trees", "purpose": "pseudonyms"})


def test_a_rotation_while_older_versions_are_retired_loses_nothing(
    town: Platform, trees: Dataset, keys: LocalKeyService, home: Path, clock: StandingClock
) -> None:
    rotate(town, keys)
    clock.time += timedelta(days=1)
    list(old_versions.prune(town, [trees], account="tester"))

    class RotatedMeanwhile(LocalKeyService):
        """Another process gives the keys new versions after everything was looked through."""

        def retire(self, key: str, kept: str) -> int:
            self.rotate(key)
            return super().retire(key, kept)

    rotation.retire(town, "trees", account="tester", versions=RotatedMeanwhile(home / "keys" / "keys.json"))
    assert rows(town, trees) == 20
    assert pseudonym_key(town.keys, town.lake.store, "trees")
    assert rotate(town, keys).resumed
    assert rows(town, trees) == 20


def test_killed_at_any_change_the_next_call_goes_on_and_makes_no_further_version(
    town: Platform, trees: Dataset, home: Path, tmp_path: Path
) -> None:
    change, moment = 1, "before"
    while True:
        here = tmp_path / "drill"
        shutil.copytree(home, here)
        platform, keys = local_platform(here, town.clock), local_key_service(here)
        killed = killed_at(change, moment, partial(rotate, platform, keys))
        assert rows(platform, trees) == 20
        done = [one.action for one in platform.audit.read().entries]
        if done:
            with pytest.raises(rotation.KeyVersionInUse):
                rotation.retire(platform, "trees", account="tester", versions=keys)
        if done != ["rotate keys", "keys rotated"]:
            assert rotate(platform, keys).resumed is bool(done)
        assert versions(keys) == {INTERNAL: 2, PERSONAL: 2}, f"killed {moment} change {change}"
        assert platform.lake.require("encrypted", "trees", YEAR).details[KEY_IDS] == {
            key: keys.current(key) for key in (INTERNAL, PERSONAL)
        }
        assert [one.action for one in platform.audit.read().entries] == ["rotate keys", "keys rotated"]
        assert rows(platform, trees) == 20
        shutil.rmtree(here)
        if not killed:
            break
        change, moment = (change, "after") if moment == "before" else (change + 4, "before")
    assert change > 6


@pytest.fixture
def kms(aws_environment: dict[str, str], town: Platform) -> Iterator[Any]:
    """A KMS in which the trees' aliases point at a key each."""
    assert aws_environment
    assert town
    client = boto3.client("kms", region_name=REGION)
    aliases = {INTERNAL, PERSONAL}
    for alias in aliases:
        client.create_alias(AliasName=alias, TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
    yield client
    for alias in {one["AliasName"] for one in client.list_aliases()["Aliases"]} & {
        *aliases,
        *(f"{alias}{PREVIOUS}" for alias in aliases),
    }:
        client.delete_alias(AliasName=alias)


class AsKms:
    """The emulator's client, saying what KMS says where a ciphertext is another key's (it says AccessDenied)."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def decrypt(self, **arguments: Any) -> Any:
        try:
            return self._client.decrypt(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "AccessDeniedException":
                error.response["Error"]["Code"] = "IncorrectKeyException"
            raise


def test_in_kms_everything_goes_under_the_key_that_the_alias_points_at_now(
    town: Platform, trees: Dataset, kms: Any
) -> None:

    cloud = replace(town, keys=KmsKeyService(lambda: AsKms(kms)))  # type: ignore[arg-type, return-value]
    town.lake.store.delete("protection/trees/pseudonym-key")
    encrypted.materialize(cloud, trees, YEAR)
    secret = pseudonym_key(cloud.keys, town.lake.store, "trees")
    old = cloud.keys.current(PERSONAL)
    new = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName=f"{PERSONAL}{PREVIOUS}", TargetKeyId=old)
    kms.update_alias(AliasName=PERSONAL, TargetKeyId=new["KeyId"])
    assert rows(cloud, trees) == 20  # readers go on while nothing is renewed yet
    done = rotate(cloud, None)
    assert done.partitions == (YEAR,)
    assert done.keys[PERSONAL] == new["Arn"] != old
    assert cloud.lake.require("encrypted", "trees", YEAR).details[KEY_IDS][PERSONAL] == new["Arn"]
    kms.delete_alias(AliasName=f"{PERSONAL}{PREVIOUS}")  # the old key can be scheduled for deletion
    assert rows(cloud, trees) == 20
    assert pseudonym_key(cloud.keys, town.lake.store, "trees") == secret
    kms.update_alias(AliasName=PERSONAL, TargetKeyId=old)
    with pytest.raises(WrongKey):
        rows(cloud, trees)


def test_a_dataset_without_keys_says_so(platform: Platform, home: Path) -> None:
    with pytest.raises(KeyNotFound):
        rotation.rotate(platform, "trees", account="tester", versions=local_key_service(home))

"""A person who asks for it is removed from the store, the lake with all its versions, and the dead letters."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.erasure import open_erasers
from city_platform.deployment.replica import REPLICA, open_replica, open_replicator
from city_platform.incidents.erasure import Found, NobodyNamed, Person, pattern_of
from city_platform.incidents.model import PICTURES, Status
from city_platform.lake.lake import Lake
from city_platform.layers import encrypted, open_incidents, profile, questions
from city_platform.layers.erasure import texts_of
from city_platform.layers.old_versions import prune
from city_platform.layers.rotation import rotate
from city_platform.local.platform import local_key_service
from city_platform.local.replicator import LocalReplicator
from city_platform.protection.masking import pseudonymizer
from tests.erasure import ADDRESS, ANN, JO, WORDS, Place
from tests.incident_stream import record
from tests.incidents import ADMIN, NOW, OFFICER, PLACE, incident
from tests.town import ROOT

STEWARD = ("--actor", "service-desk-steward", "--reason", "Request 17")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    found, mistakes = load_dataset(ROOT / "datasets" / "incidents")
    assert found is not None, mistakes
    return found


@pytest.fixture
def place(home: Path, dataset: Dataset) -> Place:
    return Place(home, dataset)


@pytest.fixture
def lived_in(place: Place) -> tuple[Place, tuple[str, str, str, str]]:
    """Everything that can be made of their reports, in two versions, and dead letters."""
    reports = place.reports()
    place.exported()
    today = NOW.date().isoformat()
    place.town.path.dead_letters.keep([(record(incident(reported_by=JO.subject)), "poison"), ({"a": ANN.subject}, "")])
    place.made(today)
    profile.materialize(place.platform, place.dataset, today)
    questions.materialize(place.platform, place.dataset)
    open_incidents.publish(place.platform.lake, place.service)
    place.town.clock.time = NOW + timedelta(hours=1)
    place.service.support(reports[0], OFFICER)
    place.exported()
    place.made(today)
    return place, reports


def test_a_person_is_gone_from_the_store_and_every_version_of_the_lake(
    lived_in: tuple[Place, tuple[str, str, str, str]],
) -> None:
    place, (own, nameless, phoned, anns) = lived_in
    today = NOW.date().isoformat()
    pseudonym = place.town.path.processor.pseudonym
    before = {row["event_id"]: row for row in place.town.exported()}
    assert {row["reporter"] for row in before.values()} >= {pseudonym(JO.subject), pseudonym(ANN.subject)}
    traces = place.erasers()[1].search(pattern_of([pseudonym(JO.subject)])).found
    assert {key.split("/")[0] for key in traces} >= {
        "exports", "raw", "cleaned", "encrypted", "profile", "questions",
    }  # fmt: skip

    jo = Person(email=" jo.canary@city.example ")
    versions = place.versions()
    found, would, looked = place.erase(jo, dry_run=True)
    assert set(found.incidents) == {own, nameless, phoned, anns}
    assert (found.reported, found.person.subjects) == ({own, nameless, phoned}, {JO.subject})
    assert (place.versions(), looked.objects_removed, set(traces) <= set(looked.remaining)) == (versions, 0, True)

    _, removed, erased = place.erase(jo)
    assert (erased.remaining, erased.days_rewritten, erased.old_versions_removed > 5) == ({}, [today], True)
    assert removed.to_json() | {"marks": would.marks} == would.to_json()
    assert removed.to_json() == {
        "incidents": 4, "contacts": 3, "history_entries": 3, "pictures": 1, "marks": 1, "dead_letters": 1,
        "contact_reads": 0,
    }  # fmt: skip
    the_store_has_the_reports_without_jo(place, own, phoned, anns)
    assert all(place.town.store.sealed_contact(one) is None for one in (own, nameless, phoned))

    # In the lake: the same changes, one more of each incident, and no pseudonym of Jo's.
    after = {row["event_id"]: row for row in place.town.exported()}
    assert after.keys() > before.keys()
    for name, row in before.items():
        gone = row["reporter"] == pseudonym(JO.subject)
        assert after[name] == row | ({"reporter": None} if gone else {})
    rows = encrypted.read(place.platform, place.dataset, today, ["reporter"]).read_all().to_pylist()
    assert {row["reporter"] for row in rows} <= {None, pseudonym(ANN.subject), pseudonym(OFFICER.subject or "")}
    assert all(WORDS.encode() not in data for data in plain_files(place.home / "lake"))

    # Again: there is nobody left to remove.
    versions = place.versions()
    again, nothing, same = place.erase(jo)
    assert (again.incidents, set(nothing.to_json().values())) == ([], {0})
    assert (same.days_rewritten, same.old_versions_removed, same.remaining) == ([], 0, {})
    assert place.versions() == versions


def test_what_was_wrapped_anew_since_is_looked_into_as_well(
    lived_in: tuple[Place, tuple[str, str, str, str]],
) -> None:
    place, _ = lived_in
    lake = place.erasers()[1]
    named = pattern_of([place.town.path.processor.pseudonym(JO.subject)])
    sealed = [key for key in lake.search(named).found if key.startswith("encrypted/")]
    assert len(sealed) == 2  # two versions
    rotate(place.platform, "incidents", account="tester", versions=local_key_service(place.home))
    place.town.clock.time = datetime.now(UTC) + timedelta(days=2)
    list(prune(place.platform, [place.dataset], keep=1, older_than=timedelta(days=1), account="tester"))
    newest = place.platform.lake.require("encrypted", "incidents", NOW.date().isoformat())
    data, _ = newest.files
    after = lake.search(named)
    # The data file of the newest version; the key material that lay beside it is gone.
    assert ([key for key in after.found if key.startswith("encrypted/")], after.unread) == ([data.key], {})
    assert data.key in sealed


def test_names_are_found_wherever_a_row_holds_them() -> None:
    inner = pa.array([{"why": "Kim's", "n": 1}], pa.struct({"why": pa.string(), "n": pa.int64()}))
    columns = {
        "text": ["Kim"],
        "texts": pa.array([["a", "Kim"]], pa.list_(pa.large_string())),
        "rows": pa.ListArray.from_arrays([0, 1], inner),
        "few": pa.array(["Kim"]).dictionary_encode(),
        "pairs": pa.array([[("k", "Kim")]], pa.map_(pa.string(), pa.string())),
        "number": [1],
    }
    found = [one for column in pa.record_batch(columns).columns for one in texts_of(column)]
    assert found == ["Kim", "a\nKim", "Kim's", "Kim", "k", "Kim"]


def test_a_person_is_gone_from_the_copy_of_the_lake(
    lived_in: tuple[Place, tuple[str, str, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = lived_in
    place.environ = {REPLICA: str(tmp_path / "copy")}
    replicator = open_replicator(place.home, place.town.clock, place.environ)
    replicator.replicate()
    named = pattern_of([place.town.path.processor.pseudonym(JO.subject)])
    _, _, looked = place.erase(Person(email=ADDRESS), dry_run=True)
    there = {key for key in looked.remaining if key.startswith((tmp_path / "copy").as_uri())}
    assert len(there) == len(looked.remaining) / 2 > 10

    with monkeypatch.context() as patched:  # as on AWS, where S3 follows by itself some minutes later
        patched.setattr(LocalReplicator, "replicate", lambda _: None)
        _, _, erased = place.erase(Person(email=ADDRESS))
    assert set(erased.remaining) == there
    assert all("lake's copy still has it" in why for why in erased.remaining.values())
    _, _, erased = place.erase(Person(email=ADDRESS))
    assert erased.remaining == {}
    there_alone = replace(place.platform, lake=Lake(replicator.copy, place.town.clock))
    assert replace(place.erasers()[1], platform=there_alone).search(named).found == []
    assert all(WORDS.encode() not in data for data in plain_files(tmp_path / "copy"))
    assert open_replica(place.home, place.town.clock, place.environ).compare().differences == []


def the_store_has_the_reports_without_jo(place: Place, own: str, phoned: str, anns: str) -> None:
    mine, theirs = place.town.store.get(own), place.town.store.get(anns)
    assert mine is not None
    assert theirs is not None
    assert (mine.reported_by, mine.description, mine.postal_code, mine.media) == (None, "", None, ())
    assert (mine.title, mine.status, mine.lat) == ("Pothole in the bicycle lane", Status.RESOLVED, PLACE["lat"])
    assert [entry.actor for entry in place.town.store.history(own)] == [
        None, None, ANN.subject, OFFICER.subject, OFFICER.subject, "system",
    ]  # fmt: skip
    assert [entry.actor for entry in place.town.store.history(phoned)] == [OFFICER.subject, "system"]
    assert (theirs.reported_by, theirs.description, theirs.supporters) == (ANN.subject, "no canary", 1)
    contact = place.service.contact(anns, ADMIN)
    assert contact is not None
    assert contact.email == "ann@city.example"
    assert list(place.town.lake.store.keys(f"{PICTURES}/")) == [f"{PICTURES}/{anns}/1.jpg"]
    assert [letter.reason for letter in place.town.path.dead_letters.look(10)] == [""]


def plain_files(folder: Path) -> Iterator[bytes]:
    return (path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet")


def test_what_cannot_be_made_anew_is_named_and_done_by_the_next_run(place: Place) -> None:
    place.reports()
    place.exported()
    today = NOW.date().isoformat()
    place.made(today)
    person = Person(email=ADDRESS)
    store, _ = place.erasers()

    def nothing(_day: str, _layers: object) -> None: ...

    lake = open_erasers(place.home, place.platform, place.dataset, nothing, {})[1]
    found = store.find(person)
    store.erase(found, NOW, dry_run=False)
    place.exported()
    erased = lake.erase(found.names(), found.person.subjects, "holder", dry_run=False)
    assert {key.split("/")[0] for key in erased.remaining} == {"exports", "raw", "cleaned", "encrypted", "manifests"}
    assert all("gate is closed or its run failed" in why for why in erased.remaining.values())
    # The store knows the address no more, and a sealed note leads on from it; then that goes, too.
    assert len(list(place.town.lake.store.keys("protection/incidents/erasures/"))) == 1
    found, _, erased = place.erase(person)
    assert (found.incidents, found.person.subjects, erased.remaining) == ([], {JO.subject}, {})
    assert list(place.town.lake.store.keys("protection/incidents/erasures/")) == []


def command(home: Path, *words: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["erase", *words, "--home", str(home), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_the_command_looks_first_and_leaves_no_trace_on_this_machine_but_its_own_record(place: Place) -> None:
    own, *_ = place.reports()
    place.exported()
    place.service.comment(own, "not yet in the lake", OFFICER, public=False)
    place.town.path.dead_letters.keep([(record(incident(reported_by=JO.subject)), "poison")])
    names = ("--subject", JO.subject, "--email", ADDRESS)
    code, looked = command(place.home, *names, *STEWARD)
    assert (code, looked["dry_run"], looked["store"]["incidents"]) == (0, True, 4)
    assert JO.subject.encode() in b"".join(plain_files(place.home / "incidents"))
    assert command(place.home, *names, *STEWARD, "--confirm", "0" * 12)[0] == 2
    code, refused = command(place.home, *names, "--actor", "somebody", "--reason", "Request 17")
    assert code == 2
    words = "somebody may not have a person erased who reported incidents; only service-desk-steward may."
    assert refused["error"] == f"{words} Nothing was changed."
    for telling in (f"{ADDRESS} asked for it", f"by phone from 604-555-0188, {JO.subject}", f"asked by {JO.subject}"):
        assert command(place.home, *names, *STEWARD[:2], "--reason", telling)[0] in {2, 3}
    code, done = command(place.home, *names, *STEWARD, "--confirm", looked["reference"])
    assert (code, done["lake"]["remaining"], done["store"]["contacts"]) == (0, {}, 3)
    everything = b"".join(plain_files(place.home)).lower()
    for canary in (JO.subject, ADDRESS.lower(), WORDS.lower(), place.town.path.processor.pseudonym(JO.subject)):
        assert canary.encode() not in everything
    entries = place.platform.audit.verify()
    assert entries.intact
    assert [one.action for one in entries.entries] == [
        *("erasure looked at", "refused", "erasure begun", "erasure done"),
    ]
    assert entries.entries[-1].facts["store"] == done["store"]


def test_a_request_names_somebody() -> None:
    for subjects, email in ((), None), (("",), None), ((), " "), (("a", "b" * 321), None):
        with pytest.raises(NobodyNamed):
            Person(frozenset(subjects), email)
    named = pseudonymizer(b"k" * 32, "incidents/reporter")
    assert Person(email="A@b.ca").reference(named) == Person(email=" a@B.ca").reference(named)
    assert Person(frozenset({"a"})).reference(named) != Person(frozenset({"A"})).reference(named)
    other = pseudonymizer(b"l" * 32, "incidents/reporter")
    assert Person(email="a@b.ca").reference(named) != Person(email="a@b.ca").reference(other)


def test_a_name_is_found_as_a_whole_word() -> None:
    named = pattern_of({"user-1", "jo@city.example"})
    assert all(named.search(text) for text in ('{"S":"user-1"}', "mail Jo@City.Example.", "user-1,x"))
    assert not any(named.search(text) for text in ("user-12", "banjo@city.example", "a.user-1", "jo@city.examples"))


def test_an_address_is_found_as_it_was_typed_and_folded() -> None:
    named = pattern_of(Found(Person(email=" Weiß@city.example"), "note", (), frozenset()).names())
    assert all(named.search(text) for text in ("weiß@city.example", "WEISS@city.example", "Weiß@City.Example"))


def test_what_is_damaged_is_named_and_keeps_nobody_from_looking_on(
    lived_in: tuple[Place, tuple[str, str, str, str]],
) -> None:
    place, _ = lived_in
    key = place.platform.lake.require("cleaned", "incidents", NOW.date().isoformat()).files[0].key
    file = place.platform.lake.store.local_path(key)
    data = bytearray(file.read_bytes())
    data[4:60] = b"\xff" * 56  # a page; what the file says of itself at its end is as it was
    file.write_bytes(bytes(data))
    looked = place.erasers()[1].search(pattern_of([place.town.path.processor.pseudonym(JO.subject)]))
    assert list(looked.unread) == [key]
    assert any(found.startswith("raw/") for found in looked.found)

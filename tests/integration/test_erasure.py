"""A person who asks for it is removed from the store, the lake with all its versions, and the dead letters."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.erasure import open_erasers
from city_platform.incidents.erasure import NobodyNamed, Person, pattern_of
from city_platform.incidents.model import PICTURES, Status
from city_platform.layers import encrypted, open_incidents, profile, questions
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
    code, refused = command(place.home, *names, "--actor", "somebody", "--reason", "x")
    assert code == 3
    words = "somebody may not have a person erased who reported incidents; only service-desk-steward may."
    assert refused["error"] == f"{words} Nothing was changed."
    code, done = command(place.home, *names, *STEWARD, "--confirm", looked["reference"])
    assert (code, done["lake"]["remaining"], done["store"]["contacts"]) == (0, {}, 3)
    everything = b"".join(plain_files(place.home)).lower()
    for canary in (JO.subject, ADDRESS.lower(), WORDS.lower(), place.town.path.processor.pseudonym(JO.subject)):
        assert canary.encode() not in everything
    entries = place.platform.audit.verify()
    assert entries.intact
    assert [one.action for one in entries.entries] == ["erasure looked at", "erasure begun", "erasure done"]
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

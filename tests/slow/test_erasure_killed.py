"""Killed before any of its writes, an erasure that is run again does what is left, and nothing else."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from city_platform.datasets import load_dataset
from city_platform.incidents.erasure import Person, pattern_of
from city_platform.local.database import Database
from city_platform.local.store import LocalObjectStore
from tests.erasure import ADDRESS, JO, Place
from tests.incidents import NOW
from tests.town import ROOT

PERSON = Person(email=ADDRESS)  # which leads to their subject only while their contacts are there
WRITES = ((LocalObjectStore, ("put", "put_file", "delete")), (Database, ("transaction",)))


class Killed(BaseException):
    """The process ends here: nothing catches it."""


def counted(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*args, **kwargs)

    return wrapped


def test_killed_anywhere_the_next_run_does_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _ = load_dataset(ROOT / "datasets" / "incidents")
    assert dataset is not None
    prepared = Place(tmp_path / "prepared", dataset)
    own, _, _, anns = prepared.reports()
    prepared.exported()
    today = NOW.date().isoformat()
    prepared.made(today)
    for killed_at in range(10_000):
        home = tmp_path / "home"
        shutil.copytree(prepared.home, home)
        place = Place(home, dataset)
        left = [killed_at]
        finished = True
        with monkeypatch.context() as patched:
            for kind, names in WRITES:
                for name in names:
                    patched.setattr(kind, name, counted(getattr(kind, name), left))
            try:
                place.erase(PERSON)
            except Killed:
                finished = False
        place = Place(home, dataset)  # another process
        place.town.clock.time = NOW + timedelta(minutes=20)  # the lock of who was killed is over
        place.exported()
        _, _, erased = place.erase(PERSON)
        for key, why in erased.remaining.items():  # an encrypted file that nobody published: pruning removes it
            assert (key.startswith("encrypted/"), "no manifest names it" in why) == (True, True), killed_at
            place.town.lake.store.delete(key)
        _, _, erased = place.erase(PERSON)
        assert erased.remaining == {}, killed_at
        named = pattern_of([place.town.path.processor.pseudonym(JO.subject or "")])
        assert place.erasers()[1].search(named).found == [], killed_at
        assert list(place.town.lake.store.keys("protection/incidents/erasures/")) == []
        mine, theirs = place.town.store.get(own), place.town.store.get(anns)
        assert mine is not None
        assert theirs is not None
        assert (mine.reported_by, theirs.reported_by is not None, place.town.store.naming(JO.subject)) == (
            None,
            True,
            [],
        )
        assert len(place.town.names()) == len(set(place.town.names()))
        shutil.rmtree(home)
        if finished:
            assert killed_at > 30
            return

"""A town in which people report, with everything that is made of their reports: for tests of erasure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from city_platform.datasets import Dataset
from city_platform.deployment.erasure import open_erasers
from city_platform.deployment.incidents import open_incident_service
from city_platform.incidents.erasure import Eraser, Person
from city_platform.incidents.export import export_once
from city_platform.incidents.model import PICTURES, Resolution, Status
from city_platform.incidents.roles import Actor
from city_platform.incidents.service import IncidentService
from city_platform.layers import cleaned, curated, encrypted, quality_checked, raw
from city_platform.layers.erasure import LakeEraser
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from tests.incident_stream import Town
from tests.incidents import OFFICER, report

JO = Actor.of("subject-of-jo-7f3a", ["citizen"])
ANN = Actor.of("subject-of-ann-19c2", ["citizen"])
ADDRESS = "Jo.Canary@City.Example"
WORDS = "I live behind the blue door"
LAYERS = {layer.LAYER: layer for layer in (raw, cleaned, quality_checked, curated, encrypted)}


class Place:
    """A town in which two people report, with everything that is made of their reports."""

    def __init__(self, home: Path, dataset: Dataset) -> None:
        self.town = Town.at(home)
        self.platform: Platform = local_platform(home, self.town.clock, threads=1)
        self.service: IncidentService = open_incident_service(self.platform, self.town.store, {})
        self.dataset = dataset
        self.home = home
        self.environ: dict[str, str] = {}

    def reports(self) -> tuple[str, str, str, str]:
        """Jo's own, one without a name but with their address, one that staff took by phone, and Ann's."""
        contact = {"email": ADDRESS, "phone": "604 555 0199"}
        own = self._report(JO, description=WORDS, postal_code="V5Y 1V4", contact=contact)
        nameless = self._report(JO, anonymous=True, contact={"email": ADDRESS.lower()})
        phoned = self._report(OFFICER, channel="phone", contact={"email": ADDRESS}, category="waste")
        anns = self._report(ANN, contact={"email": "ann@city.example"}, description="no canary")
        self.service.comment(own, "my neighbour saw it, too", JO, public=True)
        self.service.support(anns, JO)
        self.service.support(own, ANN)
        self.service.transition(own, Status.RESOLVED, OFFICER, note="mended", resolution=Resolution.FIXED)
        self.town.lake.store.put(f"{PICTURES}/{own}/1.jpg", b"pixels")
        self.town.lake.store.put(f"{PICTURES}/{anns}/1.jpg", b"pixels")
        return own, nameless, phoned, anns

    def _report(self, actor: Actor, **more: Any) -> str:
        return self.service.report(report(**more), actor).incident.incident_id

    def exported(self) -> None:
        while self.town.mapping().deliver():
            pass
        export_once(self.town.path.export, "holder")
        self.town.stream.trim(["lake"])

    def made(self, day: str, layers: Sequence[str] = tuple(LAYERS)) -> None:
        for layer in layers:
            LAYERS[layer].materialize(self.platform, self.dataset, day)

    def erasers(self) -> tuple[Eraser, LakeEraser]:
        return open_erasers(self.home, self.platform, self.dataset, self.made, self.environ)

    def erase(self, person: Person, *, dry_run: bool = False) -> tuple[Any, Any, Any]:
        store, lake = self.erasers()
        found = store.find(person)
        removed = store.erase(found, self.town.clock.now(), dry_run=dry_run)
        if not dry_run:
            self.exported()
        erased = lake.erase(found.names(), found.person.subjects, "holder", dry_run=dry_run)
        if not (dry_run or erased.remaining):
            store.finish(found)
            lake.replicate()
        return found, removed, erased

    def versions(self) -> dict[str, int]:
        return {
            key.rpartition("/")[0].removeprefix("manifests/"): int(Path(key).stem)
            for key in self.town.lake.store.keys("manifests/")
        }

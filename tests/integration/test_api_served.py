"""The API as its own process: killed in the middle of reports it has lost none that it accepted."""

import asyncio
from pathlib import Path

from city_platform.local.clock import SystemClock
from city_platform.local.incidents import SqliteIncidentRepository
from tests.served import Told, report_from_many, served


def test_killed_in_the_middle_it_has_lost_nothing_that_it_accepted(tmp_path: Path) -> None:
    told = Told()

    async def drill(address: str) -> None:
        reporting = asyncio.create_task(report_from_many(address, clients=24, each=80, told=told))
        while len(told.accepted) < 150 and not reporting.done():
            await asyncio.sleep(0.01)
        api.kill()
        await reporting

    with served(tmp_path / "home") as api:
        asyncio.run(drill(api.address))
    assert told.cut_off > 0
    assert told.other == []
    store = SqliteIncidentRepository(tmp_path / "home" / "incidents" / "incidents.sqlite", SystemClock())
    for incident_id, title in told.accepted.items():
        found = store.get(incident_id)
        assert found is not None, f"{incident_id} was accepted and is lost"
        assert found.title == title
        assert [one.version for one in store.history(incident_id)] == [1]

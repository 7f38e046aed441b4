"""The generators by dataset: what `city-platform generate DATASET` calls."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from city_platform.errors import PermanentError
from city_platform.samples import contact_centre, remuneration, water_systems
from city_platform.samples.chunks import GeneratedFile, Progress
from city_platform.samples.licences import generate_licences
from city_platform.samples.tickets import generate_tickets


class UnknownSample(PermanentError):
    """There is no generator for that dataset; the message lists those there are."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        close = get_close_matches(dataset, DATASETS, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        super().__init__(f"no sample generator for dataset {dataset!r}, known are {', '.join(DATASETS)}{meant}")


class _Generator(Protocol):
    def __call__(
        self,
        out: Path,
        rows: int,
        seed: int,
        years: Sequence[int] | None = None,
        *,
        form: str | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> GeneratedFile: ...


_GENERATORS: dict[str, _Generator] = {
    "business_licences": generate_licences,
    "parking_tickets": generate_tickets,
    "operating_permits": water_systems.PERMITS.generate,
    "water_quality_reports": water_systems.REPORTS.generate,
    "inquiry_volume_311": contact_centre.INQUIRIES.generate,
    "service_requests_311": contact_centre.REQUESTS.generate,
    "employee_remuneration": remuneration.REMUNERATION.generate,
}
DATASETS = tuple(_GENERATORS)

# Of the datasets that a demonstration shows, what the source calls its file; the name says the form.
SAMPLE_FILES = {"business_licences": "business-licences.csv", "parking_tickets": "parking-tickets.jsonl.gz"}


def generate(
    dataset: str,
    out: Path,
    rows: int,
    seed: int,
    years: Sequence[int] | None = None,
    *,
    form: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> GeneratedFile:
    """Writes `rows` sample rows of `dataset` to `out`, gzipped where its name ends in `.gz`.

    The same arguments give the same bytes, on any number of threads (by default one a processor); `out` appears whole
    or not at all. `form` is the dataset's own (see `licences.LicenceForm`, `tickets.TicketForm`, for all others
    `tables.TableForm`). `progress` is called with the number of rows written so far. Raises UnknownSample,
    InvalidSampleRequest, and OSError of the file system.
    """
    if dataset not in _GENERATORS:
        raise UnknownSample(dataset)
    return _GENERATORS[dataset](out, rows, seed, years, form=form, threads=threads, progress=progress)

"""What there is to download, as a page for people."""

from collections.abc import Iterable, Iterator

from city_platform.api.html import site_page
from city_platform.api.open_data.prov import HAS_PROVENANCE, address
from city_platform.api.open_data.shelf import PublicDataset
from city_platform.incidents.reference import Reference
from city_platform.pages import escape, table

_KILO = 1024
_STYLE = "td a { margin-right: .9rem; }\n"


def downloads(datasets: Iterable[PublicDataset], reference: Reference, path: str) -> str:
    """The datasets with their files, a row each partition; `path` is where the page and the files are."""
    body = [part for one in datasets for part in _dataset(one, reference, path)]
    body.append(
        f'<p class="soft">For programs: <a href="{path}/data.json">DCAT-US</a>, '
        f'<a href="{path}/catalog.jsonld">DCAT-AP</a>.</p>'
    )
    return site_page(f"Open data of {reference.city.name}", body, _STYLE, at=path)


def _dataset(one: PublicDataset, reference: Reference, path: str) -> Iterator[str]:
    licence = f'<a href="{escape(one.licence.url)}" rel="license">{escape(one.licence.name)}</a>'
    yield f'<h2 id="{escape(one.name)}">{escape(one.title)}</h2><p>{escape(one.description)}</p><p>{licence}</p>'
    if not one.files:
        yield "<p>Nothing is published yet.</p>"
        return
    partitions = dict.fromkeys(file.partition for file in one.files)
    rows = []
    for partition in partitions:
        files = [file for file in one.files if file.partition == partition]
        links = " ".join(
            f'<a href="{path}/{one.name}/{file.name}">{file.format.label}, {_size(file.bytes)}</a>' for file in files
        )
        links += f' <a href="{address(path, one.name, files[0].stem)}" rel="{HAS_PROVENANCE}">Where they come from</a>'
        changed = max(file.modified for file in files).astimezone(reference.zone)
        count = sum(file.rows for file in files if file.format is files[0].format)
        rows.append((escape(partition), f"{count:,}", f"{changed:%Y-%m-%d %H:%M %Z}", links))
    yield table(("Of", "Rows", "Changed", "Files"), rows, numeric=(1,))


def _size(bytes_: int) -> str:
    kilobytes = bytes_ / _KILO
    return f"{max(1, round(kilobytes)):,} KB" if kilobytes < _KILO else f"{kilobytes / _KILO:,.1f} MB"

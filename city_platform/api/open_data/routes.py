"""`/open-data`: catalogs and files, for everybody, from any site, as often as their caches ask."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from city_platform.api.conditional import unchanged
from city_platform.api.heads import ASKED
from city_platform.api.html import html_response
from city_platform.api.limits import RateLimit, address_of
from city_platform.api.open_data import prov
from city_platform.api.open_data.dcat import dcat_ap, dcat_us
from city_platform.api.open_data.page import downloads
from city_platform.api.open_data.refreshing import Lifespan
from city_platform.api.open_data.shelf import Shelf
from city_platform.api.problems import json_bytes
from city_platform.incidents.reference import Licence
from city_platform.ports import Downloads

PREFIX = "/open-data"
# A function answers with 6 MB at most, and what is no text is a third longer on its way (AWS Lambda quotas).
LARGEST_ANSWER = 4_500_000
_MAX_AGE = 300  # seconds that a cache need not ask


@dataclass(frozen=True, slots=True)
class OpenData:
    """The resources over the shelf. `public_url` is this server's address for its readers; None: as they asked."""

    shelf: Shelf
    reads: RateLimit
    public_url: str | None = None
    downloads: Downloads | None = None  # where an answer cannot carry more than `LARGEST_ANSWER`

    def page(self, request: Request) -> Response:
        """For people."""
        self._count(request)
        return html_response(downloads(self.shelf.all().values(), self.shelf.reference, PREFIX))

    def data_json(self, request: Request) -> Response:
        """DCAT-US 3."""
        return self._catalog(
            request,
            dcat_us(self.shelf.reference.city, self.shelf.all().values(), self._base(request)),
            "application/json",
        )

    def catalog(self, request: Request) -> Response:
        """DCAT-AP 3 as JSON-LD."""
        return self._catalog(
            request,
            dcat_ap(self.shelf.reference.city, self.shelf.all().values(), self._base(request)),
            "application/ld+json",
        )

    def file(self, request: Request, dataset: str, name: str) -> Response:
        """One file, whole or in ranges (RFC 9110); a large one, where answers are bounded, at its own address."""
        self._count(request)
        found = self.shelf.file(dataset, name)
        if found is None:
            raise HTTPException(404)
        headers = _headers(found.sha256, found.modified, self.shelf.all()[dataset].licence)
        if unchanged(request, headers["ETag"], found.modified):
            return Response(status_code=304, headers=headers)
        provenance = prov.address(self._base(request), dataset, found.stem)
        headers["Link"] += f', <{provenance}>; rel="{prov.HAS_PROVENANCE}"'
        kind = found.format.media_type
        content_type = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        saved_as = f"{dataset}-{name}"
        if self.downloads is not None and found.bytes > LARGEST_ANSWER:
            if ASKED in request.scope:  # the address would be signed for GET
                return Response(None, 200, {**headers, "Content-Length": str(found.bytes)}, content_type)
            address = self.downloads.address(found.key, content_type, saved_as)
            # The address soon is none any more, so nobody keeps it; the file itself is known by its ETag as before.
            return Response(None, 307, {**headers, "Location": address, "Cache-Control": "no-store"})
        path = self.shelf.lake.store.local_path(found.key)
        return FileResponse(path, headers=headers, media_type=content_type, filename=saved_as)

    def provenance(self, request: Request, dataset: str, stem: str) -> Response:
        """Where the files of a partition come from: PROV-O as JSON-LD."""
        found = self.shelf.origin(dataset, stem)
        if found is None:
            self._count(request)
            raise HTTPException(404)
        listed, published, origin = found
        body = prov.document(self.shelf.reference.city, listed, stem, published, origin, self._base(request))
        return self._catalog(request, body, "application/ld+json")

    def _catalog(self, request: Request, body: Mapping[str, Any], media_type: str) -> Response:
        self._count(request)
        text = json_bytes(body)
        headers = _headers(hashlib.sha256(text).hexdigest(), None, self.shelf.reference.city.licence)
        if unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(text, 200, headers, media_type)

    def _base(self, request: Request) -> str:
        return (self.public_url or str(request.base_url)).rstrip("/") + PREFIX

    def _count(self, request: Request) -> None:
        self.reads.take(f"address {address_of(request)}")


def router(resources: OpenData, lifespan: Lifespan | None = None) -> APIRouter:
    """The resources at their addresses. Their catalogs describe them, and so they are not in OpenAPI."""
    routes = APIRouter(prefix=PREFIX, include_in_schema=False, lifespan=lifespan)
    for path, endpoint in (
        ("", resources.page),
        ("/data.json", resources.data_json),
        ("/catalog.jsonld", resources.catalog),
        ("/{dataset}/{name}", resources.file),
        (f"/{{dataset}}/{{stem}}/{prov.NAME}", resources.provenance),
    ):
        routes.get(path)(endpoint)
    return routes


def _headers(sha256: str, modified: datetime | None, licence: Licence) -> dict[str, str]:
    headers = {
        "ETag": f'"{sha256}"',
        "Cache-Control": f"public, max-age={_MAX_AGE}",
        "Access-Control-Allow-Origin": "*",  # what everybody may read, every site's pages may
        "Link": f'<{licence.url}>; rel="license"',
    }
    if modified is not None:
        headers["Last-Modified"] = format_datetime(modified.astimezone(UTC), usegmt=True)
    return headers

"""Pictures: who may add them, what is taken for one, and that nothing of where it was taken is left in it."""

import io
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from PIL import Image

from city_platform.aws.uploads import S3Uploads, s3_client
from city_platform.incidents import pictures
from city_platform.incidents.report import InvalidRequest
from city_platform.lake.zones import Zone
from tests.api import Town, town
from tests.incidents import NOW
from tests.town import StandingClock


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("media"))


def photo(form: str, size: tuple[int, int] = (40, 20)) -> bytes:
    """A picture whose left half is red, with a place and words hidden in it."""
    picture = Image.new("RGB", size, "blue")
    picture.paste("red", (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[0x010E] = "CANARY description"
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif.get_ifd(0x8825)[2] = (49.0, 15.0, 48.0)
    out = io.BytesIO()
    hidden: dict[str, Any] = {"comment": b"CANARY comment"} if form == "JPEG" else {"icc_profile": b"CANARY profile"}
    picture.save(out, form, exif=exif, **hidden)
    return out.getvalue()


def add(here: Town, where: str, data: bytes, headers: dict[str, str], kind: str = "image/jpeg") -> Any:
    offered = here.client.post(
        f"{where}/media", json={"content_type": kind, "bytes": len(data)}, headers=headers
    ).json()
    upload = offered["upload"]
    sent = here.client.request(upload["method"], upload["url"], content=data, headers=upload["headers"])
    assert sent.status_code == 204, sent.text
    return here.client.post(offered["finish"], headers=headers), offered


@pytest.mark.parametrize(("form", "kind"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_a_picture_is_kept_without_what_was_hidden_in_it(here: Town, form: str, kind: str) -> None:
    citizen, officer = here.auth("c1", "citizen"), here.auth("o1", "officer")
    where = f"/v1/incidents/{here.report(citizen)['incident_id']}"
    data = photo(form) + b"CANARY behind the end"
    done, offered = add(here, where, data, citizen, kind)
    assert done.status_code == 201
    (media,) = done.json()["media"]
    assert (media["content_type"], media["moderated"]) == (kind, False)
    assert here.client.get(media["url"]).status_code == 404
    assert here.client.get(where).json()["media"] == []
    kept = here.client.get(media["url"], headers=citizen)
    assert (kept.status_code, kept.headers["content-type"]) == (200, kind)
    assert b"CANARY" not in kept.content
    with Image.open(io.BytesIO(kept.content)) as picture:
        assert picture.size == (20, 40)  # it was turned as its EXIF said
        assert not picture.getexif()
        top = picture.convert("RGB").getpixel((10, 5))
    assert isinstance(top, tuple)
    assert top[0] > 200
    assert top[2] < 60
    assert here.client.post(offered["finish"], headers=citizen).json()["media"] == [media]  # said again
    assert list(here.app.state.desk.store.keys("incidents/incoming/")) == []
    assert here.client.post(f"{media['url']}/approval", headers=citizen).status_code == 403
    assert here.client.post(f"{media['url']}/approval", headers=officer).status_code == 200
    assert here.client.get(media["url"]).content == kept.content
    store = here.app.state.desk.store
    for key in list(store.keys("incidents/media/")):
        store.delete(key)  # as an erasure does, while somebody still holds the incident as it was
    assert here.client.get(media["url"]).status_code == 404


def test_only_reporter_and_staff_add_pictures_and_no_more_than_three(here: Town) -> None:
    citizen = here.auth("c1", "citizen")
    where = f"/v1/incidents/{here.report(citizen)['incident_id']}"
    body = {"content_type": "image/jpeg", "bytes": 1}
    assert here.client.post(f"{where}/media", json=body).status_code == 401
    assert here.client.post(f"{where}/media", json=body, headers=here.auth("c2", "citizen")).status_code == 403
    for _ in range(3):
        add(here, where, photo("JPEG"), citizen)
    assert here.client.post(f"{where}/media", json=body, headers=citizen).json()["errors"][0]["field"] == "media"
    wrong = here.client.post(f"{where}/media", json={"content_type": "image/svg+xml", "bytes": 10**9}, headers=citizen)
    assert {one["field"] for one in wrong.json()["errors"]} == {"bytes", "content_type"}
    assert here.client.post(f"{where}/media/..%2f..%2fkeys", headers=citizen).status_code in {400, 404}


def test_what_is_no_picture_is_refused_and_not_kept(here: Town) -> None:
    citizen = here.auth("c1", "citizen")
    where = f"/v1/incidents/{here.report(citizen)['incident_id']}"
    whole = photo("JPEG", (400, 400))
    for data in (
        b"<svg onload=alert(1)>",
        whole[: len(whole) // 2],
        b"\xff\xd8\xff" + b"x" * 100,
        b"GIF89a" + bytes(50),
    ):
        refused, offered = add(here, where, data, citizen)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "file")
        assert here.client.post(offered["finish"], headers=citizen).json()["errors"][0]["code"] == "required"
    assert here.client.get(where, headers=citizen).json()["media"] == []
    assert list(here.app.state.desk.store.keys("incidents/media/" + where.rpartition("/")[2])) == []


def test_an_upload_address_is_good_for_one_object_of_its_kind_and_for_minutes(here: Town) -> None:
    citizen = here.auth("c1", "citizen")
    where = f"/v1/incidents/{here.report(citizen)['incident_id']}"
    url = here.client.post(f"{where}/media", json={"content_type": "image/png", "bytes": 9}, headers=citizen).json()[
        "upload"
    ]["url"]
    png = {"Content-Type": "image/png"}
    assert here.client.put(url, content=b"x", headers={"Content-Type": "text/html"}).status_code == 400
    assert here.client.put(url, content=b"", headers=png).status_code == 400
    assert here.client.put(url, content=bytes(pictures.BYTES_LIMIT + 1), headers=png).status_code == 413
    for forged in (f"{url[:-4]}AAAA", url[:-30], "/v1/uploads/x", "/v1/uploads/" + "A" * 2000):
        assert here.client.put(forged, content=b"x", headers=png).status_code == 404
    assert here.client.put(url, content=b"x", headers=png).status_code == 204
    assert here.client.put(url, content=b"y", headers=png).status_code == 409
    here.clock.time += timedelta(minutes=16)
    assert here.client.put(url, content=b"x", headers=png).status_code == 404
    here.clock.time = NOW


def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_drawn() -> None:
    out = io.BytesIO()
    Image.new("1", (8000, 8000)).save(out, "PNG")
    assert len(out.getvalue()) < 100_000
    with pytest.raises(InvalidRequest, match="pixels"):
        pictures.redrawn(out.getvalue())


def test_the_bucket_takes_what_a_presigned_form_allows(aws: str, aws_environment: dict[str, str]) -> None:
    region = aws_environment["AWS_REGION"]
    client = s3_client(region, aws)
    client.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": region})
    uploads = S3Uploads(dict.fromkeys(Zone, "pictures"), StandingClock(NOW), lambda: client)
    offered = uploads.offer("incidents/incoming/a/b", "image/png", 10_000, NOW + timedelta(minutes=15))
    assert offered.method == "POST"
    assert {"key", "Content-Type", "policy", "x-amz-signature"} <= set(offered.fields)
    sent = httpx2.post(offered.url, data=dict(offered.fields), files={"file": b"the bytes"})
    assert sent.status_code in {200, 204}
    assert client.get_object(Bucket="pictures", Key="incidents/incoming/a/b")["Body"].read() == b"the bytes"

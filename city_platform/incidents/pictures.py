"""Pictures as they come and as they may be kept: recognised by their bytes, and drawn anew without anything hidden.

Copying the pixels leaves behind EXIF (where the photographer stood), XMP, comments, thumbnails and whatever was
appended to the file.
"""

import io
import struct

from PIL import Image, ImageOps

from city_platform.incidents.report import Fault, InvalidRequest

BYTES_LIMIT = 10_000_000
PIXELS_LIMIT = 50_000_000  # 150 MB once decoded
CONTENT_TYPES = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_JPEG_QUALITY = 88
_MODES = {"JPEG": {"L", "RGB"}, "PNG": {"L", "LA", "RGB", "RGBA"}, "WEBP": {"RGB", "RGBA"}}


def sniffed(data: bytes) -> str | None:
    """The content type that the first bytes show, None for anything but JPEG, PNG and WebP."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def redrawn(data: bytes) -> tuple[bytes, str]:
    """The same picture, upright and without metadata, and its content type. Raises InvalidRequest."""
    if len(data) > BYTES_LIMIT:
        raise _refused("length", f"a picture has at most {BYTES_LIMIT // 1_000_000} MB")
    kind = sniffed(data)
    if kind is None:
        raise _refused("type", "send a JPEG, PNG or WebP picture")
    form = CONTENT_TYPES[kind]
    try:
        with Image.open(io.BytesIO(data), formats=[form]) as picture:
            if picture.width * picture.height > PIXELS_LIMIT:
                raise _refused("length", f"a picture has at most {PIXELS_LIMIT // 1_000_000} million pixels")
            upright = ImageOps.exif_transpose(picture)
            fitting = upright if upright.mode in _MODES[form] else upright.convert("RGB" if form == "JPEG" else "RGBA")
            clean = Image.new(fitting.mode, fitting.size)
            clean.paste(fitting)
    except Image.DecompressionBombError as error:
        raise _refused("length", f"a picture has at most {PIXELS_LIMIT // 1_000_000} million pixels") from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise _refused("type", "this picture is damaged: take or save it again") from error
    out = io.BytesIO()
    clean.save(out, form, **({"quality": _JPEG_QUALITY} if form == "JPEG" else {}))
    return out.getvalue(), kind


def _refused(code: str, message: str) -> InvalidRequest:
    return InvalidRequest([Fault("file", code, message)])

"""How the portal is spoken to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from city_platform.errors import PermanentError

PORTAL = "CITY_PLATFORM_PORTAL"


class InvalidPortal(PermanentError):
    """The portal's address cannot be one."""


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """Bounds of one client; times in seconds. `base` (scheme://host[:port]) stands for the host of every source."""

    base: str | None = None
    attempts: int = 5  # of a request that fails for reasons that may pass
    connect_timeout: float = 10.0
    read_timeout: float = 60.0  # between two pieces of an answer
    deadline: float = 3600.0  # for one dataset, from the first request to the last byte
    quota_wait: float = 900.0  # the longest wait for a new quota; a later reset is an error
    max_bytes: int = 16 << 30  # of one export, unpacked

    def __post_init__(self) -> None:
        if self.base is None:
            return
        parts = urlsplit(self.base)
        extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
        if parts.scheme not in {"http", "https"} or not parts.hostname or extra:
            raise InvalidPortal("the portal's address must be https://HOST or https://HOST:PORT and nothing more")

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ, base: str | None = None) -> "PortalSettings":
        """`base` as given, else what `CITY_PLATFORM_PORTAL` names, else the hosts that the contracts name."""
        return cls(base=base or environ.get(PORTAL) or None)

    def address(self, location: str) -> str:
        """Where a source's dataset is with these settings."""
        if self.base is None:
            return location
        host = urlsplit(self.base)
        return urlunsplit((host.scheme, host.netloc, urlsplit(location).path, "", ""))

"""The open data portal as a Dagster resource."""

from collections.abc import Callable
from dataclasses import replace

import dagster as dg

from city_platform.portal.client import PortalClient, silent
from city_platform.portal.settings import PortalSettings
from city_platform.ports import Clock

TICK_SECONDS = 30.0  # a sensor or schedule that takes a minute is ended by Dagster


class PortalResource(dg.ConfigurableResource[PortalClient]):
    """Opens clients for `base` (scheme://host), else the portal that `CITY_PLATFORM_PORTAL` names, else those that the
    contracts name.
    """

    base: str = ""

    def patient(self, clock: Clock, notice: Callable[[str], None] = silent) -> PortalClient:
        """For a run: waits for quotas, tries again, says why."""
        return PortalClient(PortalSettings.of(base=self.base or None), clock, notice=notice)

    def hasty(self, clock: Clock) -> PortalClient:
        """For a tick: asks once and waits for nothing."""
        settings = PortalSettings.of(base=self.base or None)
        bounds = replace(settings, attempts=1, connect_timeout=5.0, read_timeout=10.0, quota_wait=0.0)
        return PortalClient(bounds, clock)

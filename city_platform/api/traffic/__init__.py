"""Traffic now and before: an API for programs, live pages for people."""

from city_platform.api.traffic.live import Live
from city_platform.api.traffic.pages import pages
from city_platform.api.traffic.routes import Traffic, router

__all__ = ["Live", "Traffic", "pages", "router"]

"""Open311 GeoReport v2: the interface that applications of many cities speak.

Read as the specification has it (wiki.open311.org/GeoReport_v2), with the extensions that most cities' servers have.
"""

from city_platform.api.open311.routes import PREFIX, GeoReport, router

__all__ = ["PREFIX", "GeoReport", "router"]

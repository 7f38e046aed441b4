"""What the city publishes for everybody: files to download, and catalogs that say what they are."""

from city_platform.api.open_data.refreshing import republishing
from city_platform.api.open_data.routes import PREFIX, OpenData, router
from city_platform.api.open_data.shelf import Shelf

__all__ = ["PREFIX", "OpenData", "Shelf", "republishing", "router"]

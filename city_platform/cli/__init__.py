"""The command `city-platform`."""

from city_platform.cli.app import main

__all__ = ["main"]

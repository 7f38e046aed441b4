"""Entry points of AWS Lambda: each reads its environment once, and hands events to the domain."""

import os
from pathlib import Path


def home() -> Path:
    """The folder of a function's container that it works in."""
    return Path(os.environ.get("CITY_PLATFORM_HOME", "/tmp/city-platform"))  # noqa: S108 -- all that Lambda can write to

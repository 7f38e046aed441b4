"""Sample files with the real schemas and the dirt of the city's real files, at any size, from a seed.

What belongs here: generators of source files. What does not: fixtures of single tests, and any real row.
"""

from city_platform.samples.chunks import GeneratedFile
from city_platform.samples.registry import DATASETS, SAMPLE_FILES, UnknownSample, generate
from city_platform.samples.request import InvalidSampleRequest

__all__ = ["DATASETS", "SAMPLE_FILES", "GeneratedFile", "InvalidSampleRequest", "UnknownSample", "generate"]

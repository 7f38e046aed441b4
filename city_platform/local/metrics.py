"""Metrics as lines of CloudWatch's embedded metric format in a file, for a machine without a metrics service.

Source: Specification: Embedded metric format, Amazon CloudWatch User Guide.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import count

from city_platform.local.rotated_file import RotatedFile
from city_platform.ports import Measurement, MetricsUnavailable

ENVIRONMENT = "local"


class FileMetrics:
    """Appends lines of figures of one moment and one set of dimensions; at most two files of 16 MB."""

    def __init__(self, file: RotatedFile) -> None:
        self._file = file

    def put(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        lines: dict[tuple[int, str, int], dict[str, Measurement]] = {}
        for one in measurements:
            at_ms, of = round(one.at.timestamp() * 1000), json.dumps(dict(one.dimensions), sort_keys=True)
            # A line holds a name once; another figure of the same goes on the next.
            turn = next(each for each in count() if one.name not in lines.get((at_ms, of, each), ()))
            lines.setdefault((at_ms, of, turn), {})[one.name] = one
        try:
            for (at_ms, of, _), figures in lines.items():
                self._file.append(_line(namespace, at_ms, json.loads(of), list(figures.values())))
        except OSError as error:
            raise MetricsUnavailable(f"{self._file.path} cannot be written: {error.strerror}") from error


def _line(namespace: str, at_ms: int, dimensions: Mapping[str, str], figures: Sequence[Measurement]) -> bytes:
    of = {"Environment": ENVIRONMENT, **dimensions}
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(of)],
        "Metrics": [{"Name": one.name, "Unit": one.unit} for one in figures],
    }
    said = {"_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]}}
    return json.dumps(said | of | {one.name: one.value for one in figures}, ensure_ascii=False).encode()

"""The step types the platform knows, by DataBrew's name."""

from collections.abc import Mapping
from types import MappingProxyType

from city_platform.cleaning.operation import Operation
from city_platform.cleaning.steps import arithmetic, columns, dates, masking, missing, rows, structure, text

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        operation.name: operation
        for module in (columns, text, missing, rows, structure, dates, arithmetic, masking)
        for operation in module.OPERATIONS
    }
)

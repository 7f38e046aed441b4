"""From a column's classification to the master key that protects it."""

from collections.abc import Iterable, Sequence

from city_platform.contracts.model import Classification, Column
from city_platform.errors import PermanentError


class Unclassified(PermanentError):
    """Columns of which nobody said how far they may travel. They are not written until somebody does."""


def master_key(dataset: str, classification: Classification) -> str:
    """The name of the key for such columns of that dataset. Public columns have none: ValueError."""
    if classification is Classification.PUBLIC:
        raise ValueError("public columns are under no key")
    return f"alias/city-platform/{dataset}/{classification.value}"


def master_keys(dataset: str) -> Sequence[str]:
    """Every master key the encrypted layer of a dataset uses. They have to exist before it is written."""
    return [master_key(dataset, one) for one in (Classification.INTERNAL, Classification.PERSONAL)]


def keys_of_columns(dataset: str, columns: Iterable[Column], names: Iterable[str]) -> dict[str, str]:
    """Master key by column name, for those of `names` that are protected, in their order.

    The platform's own columns (`_source`, `_row`) lead back to the untouched source rows, so they are internal.
    Raises Unclassified naming every other column the contract does not list.
    """
    classified = {column.name: column.classification for column in columns}
    protected: dict[str, str] = {}
    unknown = []
    for name in names:
        classification = classified.get(name, Classification.INTERNAL if name.startswith("_") else None)
        if classification is None:
            unknown.append(name)
        elif classification is not Classification.PUBLIC:
            protected[name] = master_key(dataset, classification)
    if unknown:
        raise Unclassified(f"{dataset}: no classification for {', '.join(unknown)}; add them to contract.yaml")
    return protected

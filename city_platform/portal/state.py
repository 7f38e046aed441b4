"""What a portal says of a dataset without giving its rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from city_platform.portal.errors import UnexpectedAnswer


@dataclass(frozen=True, slots=True)
class PortalState:
    """The catalogue's word on one dataset. Times are as the portal writes them, ISO 8601; '' where it says nothing."""

    portal_id: str
    title: str
    records_count: int
    modified: str
    data_processed: str

    @property
    def version(self) -> str:
        """Changes whenever the portal says that the data changed; '' where it never says."""
        if not (self.modified or self.data_processed):
            return ""
        return f"processed {self.data_processed or '-'}, modified {self.modified or '-'}, {self.records_count} records"

    @classmethod
    def of(cls, portal_id: str, body: object) -> "PortalState":
        """From the answer of `/catalog/datasets/ID`; raises UnexpectedAnswer with everything that is missing."""
        metas = body.get("metas") if isinstance(body, Mapping) else None
        said = metas.get("default") if isinstance(metas, Mapping) else None
        if not isinstance(said, Mapping):
            raise UnexpectedAnswer(f"the portal's answer on {portal_id} has no metas.default")
        count = said.get("records_count")
        wrong = [] if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else ["records_count"]
        texts = {}
        for name in ("title", "modified", "data_processed"):
            value = said.get(name)
            if value is not None and not isinstance(value, str):
                wrong.append(name)
            texts[name] = value if isinstance(value, str) else ""
        if wrong:
            listed = ", ".join(f"metas.default.{name}" for name in wrong)
            raise UnexpectedAnswer(f"the portal's answer on {portal_id} has no usable {listed}")
        return cls(portal_id=portal_id, records_count=count if isinstance(count, int) else 0, **texts)

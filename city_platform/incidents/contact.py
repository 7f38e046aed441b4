"""Contact data at rest: sealed under a key of their own, bound to their incident."""

import json
from dataclasses import asdict
from datetime import datetime

from city_platform.incidents.codec import rfc3339
from city_platform.incidents.identity import new_incident_id
from city_platform.incidents.model import Contact
from city_platform.incidents.roles import Actor
from city_platform.ports import KeyService, ObjectStore

CONTACT_KEY = "alias/city-platform/incidents/contact"


def seal(contact: Contact, incident_id: str, keys: KeyService) -> bytes:
    """Raises the key service's errors."""
    return keys.encrypt(CONTACT_KEY, json.dumps(asdict(contact)).encode(), _context(incident_id))


def unseal(sealed: bytes, incident_id: str, keys: KeyService) -> Contact:
    """Raises the key service's errors."""
    return Contact(**json.loads(keys.decrypt(CONTACT_KEY, sealed, _context(incident_id))))


def record_read(store: ObjectStore, incident_id: str, actor: Actor, at: datetime) -> None:
    """Puts on record, for good, who read a reporter's contact data; one object a reading, by day.

    Raises the store's errors, and then the data must not be shown.
    """
    line = {"at": rfc3339(at), "incident_id": incident_id, "subject": actor.subject, "role": actor.role}
    place = f"incidents/contact-reads/{at.date().isoformat()}/{new_incident_id(at)}.json"
    store.put(place, json.dumps(line, ensure_ascii=False).encode(), create_only=True)


def _context(incident_id: str) -> dict[str, str]:
    return {"purpose": "incident-contact", "incident_id": incident_id}

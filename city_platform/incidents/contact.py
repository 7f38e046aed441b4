"""Contact data at rest: sealed under a key of their own, bound to their incident."""

import json
from dataclasses import asdict

from city_platform.incidents.model import Contact
from city_platform.ports import KeyService

CONTACT_KEY = "alias/city-platform/incidents/contact"


def seal(contact: Contact, incident_id: str, keys: KeyService) -> bytes:
    """Raises the key service's errors."""
    return keys.encrypt(CONTACT_KEY, json.dumps(asdict(contact)).encode(), _context(incident_id))


def unseal(sealed: bytes, incident_id: str, keys: KeyService) -> Contact:
    """Raises the key service's errors."""
    return Contact(**json.loads(keys.decrypt(CONTACT_KEY, sealed, _context(incident_id))))


def _context(incident_id: str) -> dict[str, str]:
    return {"purpose": "incident-contact", "incident_id": incident_id}

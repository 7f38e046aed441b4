"""Names of incidents: a ULID for machines, and a reference short enough to be read out on the telephone."""

import re
import secrets
from datetime import datetime

from ulid import ULID

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE_LENGTH = 6
_ALIKE = str.maketrans("OIL", "011")  # as people read and hear them; the alphabet has none of the three
_ULID = re.compile(f"[0-7][{_CROCKFORD}]{{25}}")


def new_incident_id(now: datetime) -> str:
    """26 characters that sort by time, to the millisecond; the rest is random."""
    return str(ULID.from_datetime(now))


def is_incident_id(text: str) -> bool:
    """Whether a text can be the name of an incident, so that nothing else reaches the store."""
    return _ULID.fullmatch(text) is not None


def new_public_ref(prefix: str, year: int) -> str:
    """`VAN-2026-7K3MQ9`: one of a thousand million a year, so the store has to refuse one that is taken."""
    return f"{prefix}-{year}-{''.join(secrets.choice(_CROCKFORD) for _ in range(_REFERENCE_LENGTH))}"


def read_public_ref(text: str, prefix: str) -> str | None:
    """The reference that somebody has copied or heard: in any case, with or without hyphens; None for anything else."""
    letters = "".join(character for character in text.upper() if character not in " -\t")[: len(prefix) + 20]
    found = re.fullmatch(f"{re.escape(prefix)}([0-9]{{4}})([0-9A-Z]{{{_REFERENCE_LENGTH}}})", letters)
    if found is None:
        return None
    return f"{prefix}-{found[1]}-{found[2].translate(_ALIKE)}"

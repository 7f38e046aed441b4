"""What people may write into fields that others will read."""

import re
import unicodedata

_HTML = re.compile(r"<\s*[a-zA-Z/!?]")
# The local part is bounded as in RFC 5321 (64), so that a long run of characters costs no more than its length.
_EMAIL = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}\.[A-Za-z]")
_EMAIL_WHOLE = re.compile(_EMAIL.pattern + r"[A-Za-z0-9.\-]{0,253}")
_PHONE = re.compile(r"(?<!\d)(?:\+?1[ .\-]?)?\(?\d{3}\)?[ .\-]?\d{3}[ .\-]?\d{4}(?!\d)")
_UNSEEN = {"Cc", "Cs", "Co", "Cn"}  # control, surrogate, private use, unassigned


def plain(text: str) -> str:
    """Raises ValueError for anything but visible text on one line."""
    return _visible(text, "")


def prose(text: str) -> str:
    """Raises ValueError for anything but visible text, lines and HTML aside; line ends become one kind."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return without_html(_visible(unified, "\n\t"))


def without_html(text: str) -> str:
    if _HTML.search(text):
        raise ValueError("HTML is not accepted: write plain text")
    return text


def without_contact(text: str) -> str:
    """Raises ValueError where an e-mail address or a phone number stands in a text that everybody may read."""
    if _EMAIL.search(text) or _PHONE.search(text):
        raise ValueError("everybody may read this: put e-mail addresses and phone numbers into `contact`")
    return text


def masked(text: str) -> str:
    """The text for everybody, e-mail addresses and phone numbers replaced by a bar."""
    return _PHONE.sub("▇▇▇", _EMAIL_WHOLE.sub("▇▇▇", text))


def _visible(text: str, allowed: str) -> str:
    if any(unicodedata.category(character) in _UNSEEN and character not in allowed for character in text):
        raise ValueError("control characters are not accepted")
    return text

"""What people may write into fields that others will read."""

import re
import unicodedata

_LINE_END = re.compile("\r\n|[\r\u2028\u2029]")
_HTML = re.compile(r"<\s*[a-zA-Z/!?]")
# The local part is bounded as in RFC 5321 (64), so that a long run of characters costs no more than its length.
_EMAIL = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}\.[A-Za-z]")
_EMAIL_WHOLE = re.compile(_EMAIL.pattern + r"[A-Za-z0-9.\-]{0,253}")
_PHONE = re.compile(r"(?<!\d)(?:\+?1[ .\-]?)?\(?\d{3}\)?[ .\-]?\d{3}[ .\-]?\d{4}(?!\d)")
_UNSEEN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, surrogate, private use, unassigned, ends of lines
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # make a text look like another one


def plain(text: str) -> str:
    """Raises ValueError for anything but visible text on one line, and for what nobody can see any of."""
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        raise ValueError("write something that can be read")
    return _visible(text, "")


def prose(text: str) -> str:
    """Raises ValueError for anything but visible text, lines and HTML aside; line ends become one kind."""
    return without_html(_visible(_LINE_END.sub("\n", text), "\n\t"))


def without_html(text: str) -> str:
    if _HTML.search(text):
        raise ValueError("HTML is not accepted: write plain text")
    return text


def without_contact(text: str) -> str:
    """Raises ValueError where an e-mail address or a phone number stands in a text that everybody may read."""
    folded = unicodedata.normalize("NFKC", text)  # full-width letters make an address as well
    if _EMAIL.search(folded) or _PHONE.search(folded):
        raise ValueError("everybody may read this: put e-mail addresses and phone numbers into `contact`")
    return text


def masked(text: str) -> str:
    """The text for everybody, e-mail addresses and phone numbers replaced by a bar."""
    folded = unicodedata.normalize("NFKC", text)
    without = _PHONE.sub("▇▇▇", _EMAIL_WHOLE.sub("▇▇▇", folded))
    return text if without == folded else without


def _visible(text: str, allowed: str) -> str:
    if any(
        (unicodedata.category(character) in _UNSEEN and character not in allowed)
        or unicodedata.bidirectional(character) in _TURNING
        for character in text
    ):
        raise ValueError("control characters are not accepted")
    return text

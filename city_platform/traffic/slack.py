"""Notifications to a Slack channel through an incoming webhook, whose address is a secret and is never said.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from collections.abc import Callable
from functools import cached_property
from urllib.parse import urlsplit

import httpx2

from city_platform.ports import NotificationRefused, NotifierUnavailable

_TEXT_LIMIT = 3000  # characters; Slack cuts at 40,000 and shows a few hundred
_BUSY = httpx2.codes.TOO_MANY_REQUESTS
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class SlackNotifier:
    """A Notifier that posts to one webhook. Slack cannot tell a repetition, so `once` says nothing to it."""

    def __init__(self, webhook: Callable[[], str]) -> None:
        """`webhook` gives the address; it is called once, at the first notification."""
        self._webhook = webhook

    def notify(self, subject: str, body: str, *, once: str | None = None) -> None:  # noqa: ARG002 -- the port's
        text = f"*{_escaped(subject)}*\n{_escaped(body)}"[:_TEXT_LIMIT]
        try:
            answer = self._http.post(self._address, json={"text": text})
        except httpx2.TransportError as error:
            # The error's request has the address: it goes no further than here.
            raise NotifierUnavailable(f"Slack did not answer: {type(error).__name__}") from None
        if answer.status_code == _BUSY or answer.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
            raise NotifierUnavailable(f"Slack answers {answer.status_code}")
        if answer.status_code != httpx2.codes.OK:
            raise NotificationRefused(f"Slack answers {answer.status_code}: look at the webhook")

    @cached_property
    def _http(self) -> httpx2.Client:
        timeout = httpx2.Timeout(10.0, connect=3.0)
        return httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=False)

    @cached_property
    def _address(self) -> str:
        address = self._webhook().strip()
        try:
            parts = urlsplit(address)
            there = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        except ValueError:
            there = False
        if not there:
            raise NotificationRefused("the Slack webhook is no https address")
        return address


def _escaped(text: str) -> str:
    """As Slack wants its three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

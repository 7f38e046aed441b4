"""Tells people: an event to each channel that its routes name, once, however often it comes and whoever dies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from city_platform.errors import TransientError
from city_platform.ports import BusEvent, Claims, ClaimState, Clock, Notifier
from city_platform.traffic.events import Told, read
from city_platform.traffic.routes import Channel, Routes, severity, zone_of

_SENDING = timedelta(minutes=1)  # longer than a channel takes, attempts included
_SMS_SUBJECT = "Traffic"


class Delivery(StrEnum):
    """What became of an event on a channel."""

    SENT = "sent"
    SENT_BEFORE = "sent_before"
    NOT_ROUTED = "not_routed"
    KNOWN = "known"  # an incident explains it, or did when it began: no alarm
    QUIET = "quiet"  # the channel is left alone at this hour
    REPEATED = "repeated"  # the same was told of this zone a short while ago
    STALE = "stale"  # it was too long ago


class DeliveryInProgress(TransientError):
    """Somebody else is sending this just now; if they fail, it is to be sent again."""


@dataclass(frozen=True, slots=True)
class Router:
    """Sends events to channels.

    A delivery is claimed before it is sent and finished after: who dies in between leaves a claim that lapses. The
    channel gets the same name each time, so that one that can tell a repetition drops it.
    """

    routes: Routes
    channels: Mapping[Channel, Notifier]
    claims: Claims
    clock: Clock
    holder: str  # this process, by a name of its own

    def deliver(self, event: BusEvent, channel: Channel) -> Delivery:
        """Sends an event to a channel, if it is to go there now.

        Raises InvalidEvent, DeliveryInProgress and the errors of the channel and the claims: deliver it again.
        """
        told, now = read(event), self.clock.now()
        if (left := self._left_out(channel, told, now)) is not None:
            return left
        name = f"alert#{channel}#{told.alert_id}"
        state = self.claims.claim(name, self.holder, now + _SENDING)
        if state is ClaimState.DONE:
            return Delivery.SENT_BEFORE
        if state is ClaimState.HELD:
            raise DeliveryInProgress(f"{told.alert_id} is being sent to {channel}")
        if self._told_of_zone(channel, told):
            self.claims.finish(name, self.holder)
            return Delivery.REPEATED
        text = self.routes.text(told)
        said = (_SMS_SUBJECT, text.short) if channel is Channel.SMS else (text.subject, text.body)
        self.channels[channel].notify(*said, once=name)
        self.claims.finish(name, self.holder)
        return Delivery.SENT

    def _left_out(self, channel: Channel, told: Told, now: datetime) -> Delivery | None:
        """Why an event does not go to a channel at this time; None where it does."""
        if not self.routes.goes_to(channel, told, now):
            return Delivery.NOT_ROUTED
        if told.withheld:
            return Delivery.KNOWN
        if self.routes.is_quiet(channel, told, now):
            return Delivery.QUIET
        stale = now - told.window_end > timedelta(minutes=self.routes.stale_minutes)
        return Delivery.STALE if stale else None

    def _told_of_zone(self, channel: Channel, told: Told) -> bool:
        """Whether this channel heard of the same thing in this zone a short while ago, from another event."""
        if not self.routes.repeat_minutes:
            return False
        what = f"{type(told).__name__}#{told.direction}#{severity(told)}"
        until = self.clock.now() + timedelta(minutes=self.routes.repeat_minutes)
        # The event itself is the holder, so that it may come again.
        return self.claims.claim(f"zone#{channel}#{zone_of(told)}#{what}", told.alert_id, until) is ClaimState.HELD

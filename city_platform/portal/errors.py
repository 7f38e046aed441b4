"""What can go wrong between here and the portal, by who has to act."""

from datetime import datetime

from city_platform.errors import PermanentError, TransientError


class PortalRefused(PermanentError):
    """The portal understood and says no: no such dataset, no right to it, or a request it does not take."""


class UnexpectedAnswer(PermanentError):
    """The answer is not what the Explore API v2.1 describes; asking again gives the same."""


class TooLarge(PermanentError):
    """More bytes than are taken from a portal."""


class PortalUnavailable(TransientError):
    """The portal did not answer, broke off, or answered that it cannot at the moment."""


class IncompleteExport(PortalUnavailable):
    """The export has other rows than the portal says the dataset has. Nothing of it is used."""


class ChangedMeanwhile(PortalUnavailable):
    """The portal changed the dataset while it was read. Nothing of it is used."""


class RangeRefused(PortalUnavailable):
    """The portal has nothing from there on; from its start it may."""


class DeadlinePassed(PortalUnavailable):
    """The portal took longer than there was time."""


class QuotaExhausted(PortalUnavailable):
    """The portal takes no more requests before `reset` (aware; None where it does not say)."""

    def __init__(self, portal: str, reset: datetime | None) -> None:
        self.reset = reset
        until = f"until {reset:%Y-%m-%d %H:%M:%S %Z}" if reset else "and the portal does not say until when"
        super().__init__(f"the request quota of {portal} is used up {until}: try again later")

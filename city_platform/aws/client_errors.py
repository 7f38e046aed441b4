"""What botocore's errors mean: worth another attempt, or not."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from city_platform.errors import PermanentError, TransientError

_SERVER_ERROR = 500
_BUSY = {
    "InternalServerError",
    "LimitExceededException",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ThrottlingException",
    "Throttling",
    "TransactionConflictException",
    "TransactionInProgressException",
}


@contextmanager
def typed(what: str, unavailable: type[TransientError], refused: type[PermanentError]) -> Iterator[None]:
    """Raises the port's errors for botocore's. Their texts stay out: they may quote what was to be written."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = unavailable if code in _BUSY or status >= _SERVER_ERROR else refused
        raise kind(f"{what} refused: {code}") from error
    except (HTTPClientError, NoConnection) as error:
        raise unavailable(f"{what} did not answer: {type(error).__name__}") from error
    except BotoCoreError as error:
        raise refused(f"{what} cannot be asked: {type(error).__name__}; check the AWS settings") from None

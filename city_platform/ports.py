"""What the domain needs from outside, as protocols. `local` and `aws` each implement all of them.

One contract test suite (`tests/integration/test_ports_*.py`) runs against both, so a difference between the
machine under the desk and the cloud is a failing test, not a surprise.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from city_platform.errors import PermanentError, TransientError


class ObjectNotFound(PermanentError):
    """No object under that key."""


class ObjectExists(PermanentError):
    """A create-only write found the key taken: somebody else published first."""


class StoreUnavailable(TransientError):
    """The object store did not answer, or answered that it is busy."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing says of an object. `modified` is aware, in UTC; `tag` is another one after every write."""

    key: str
    bytes: int
    modified: datetime
    tag: str


class ObjectStore(Protocol):
    """Immutable objects under keys such as `cleaned/parking_tickets/year=2023/4f1c…/part-00000.parquet`.

    A write is whole or absent: a reader never sees half an object, whenever the writer dies.
    Errors: ObjectNotFound, ObjectExists, StoreUnavailable.
    """

    def get(self, key: str) -> bytes: ...

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        """Writes the object; with `create_only` raises ObjectExists if the key is taken."""
        ...

    def put_file(self, key: str, file: Path) -> None:
        """Moves a finished file into the store. The file may be gone afterwards."""
        ...

    def local_path(self, key: str) -> Path:
        """A file of this machine that holds the object's bytes, to be read and not changed."""
        ...

    def size(self, key: str) -> int: ...

    def modified(self, key: str) -> datetime:
        """When the object was written, by the store's clock; aware, in UTC."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with `prefix`, in order."""
        ...

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """The same with what the store says of each: on S3 a call for a thousand of them, and none for one."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object; an absent key is no error."""
        ...

    def uri(self, key: str) -> str:
        """What a person pastes elsewhere to find the object."""
        ...

    def scratch(self) -> Path:
        """A folder of this machine for unfinished files, private to this process."""
        ...


@dataclass(frozen=True, slots=True)
class Deletion:
    """That an object was deleted on purpose, as a delete marker of S3 says it. `id` tells two of one key apart."""

    key: str
    at: datetime
    id: str


class Deletions(Protocol):
    """What a store remembers of what was deleted from it. Errors: StoreUnavailable."""

    def when(self, keys: Collection[str]) -> Mapping[str, datetime]:
        """The moment of the last deletion of each of the keys, as far as the store remembers; aware, in UTC."""
        ...


class DeletionLog(Deletions, Protocol):
    """Deletions that wait until they are repeated in a copy, where nobody else does that."""

    def begin(self) -> None:
        """From now on deletions are kept, by every process that works on the store."""
        ...

    def pending(self) -> Sequence[Deletion]:
        """Those that nobody forgot yet, oldest first."""
        ...

    def forget(self, deletion: Deletion) -> None: ...


@dataclass(frozen=True, slots=True)
class Upload:
    """How a client hands in one object by itself: a request with the method, the form fields and the file.

    `method` PUT sends the bytes as the body; POST sends a form of `fields` with the bytes as its last field, `file`.
    """

    method: str
    url: str  # absolute, or a path of the API that gave it
    fields: Mapping[str, str]
    expires_at: datetime


class Uploads(Protocol):
    """Lets a client write one object of a known kind, once, without any other right."""

    def offer(self, key: str, content_type: str, limit: int, until: datetime) -> Upload:
        """A way to write the object `key` of at most `limit` bytes until then. Raises StoreUnavailable."""
        ...


class NotPublic(PermanentError):
    """The object is not published, so nobody gets an address that reads it without any other right."""


class Downloads(Protocol):
    """Lets a client read one published object, for a short while, without any other right."""

    def address(self, key: str, media_type: str, name: str) -> str:
        """An address of the object `key`, to be saved as `name`. Raises NotPublic and StoreUnavailable."""
        ...


class KeyNotFound(PermanentError):
    """No key of that name."""


class KeyDisabled(PermanentError):
    """The key exists and is disabled; whoever owns it has to enable it."""


class KeyDenied(PermanentError):
    """This identity may not use the key."""


class WrongKey(PermanentError):
    """The ciphertext was not made with this key and context, or was changed since."""


class KeyServiceUnavailable(TransientError):
    """The key service did not answer."""


PLAINTEXT_LIMIT = 4096  # bytes, as AWS KMS Encrypt; at least one


class KeyService(Protocol):
    """Symmetric keys that never leave the service. `context` is authenticated, not secret.

    Errors: KeyNotFound, KeyDisabled, KeyDenied, WrongKey, KeyServiceUnavailable.
    """

    def ensure(self, key: str) -> None:
        """Makes sure the key exists. A service of this machine creates it; a managed one only looks, and raises
        KeyNotFound where the infrastructure has not made it.
        """
        ...

    def encrypt(self, key: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        """Takes 1 to PLAINTEXT_LIMIT bytes; ValueError otherwise."""
        ...

    def decrypt(self, key: str, ciphertext: bytes, context: Mapping[str, str]) -> bytes:
        """Also what was encrypted before the key was rotated, as long as its owner keeps what that takes."""
        ...

    def current(self, key: str) -> str:
        """The id of what encrypts under the key now: another one after its owner rotated it."""
        ...


class VersionedKeys(KeyService, Protocol):
    """A key service that keeps the versions of its keys itself. Errors: those of KeyService."""

    def rotate(self, key: str) -> None:
        """Encrypts with a fresh version from now on; earlier ones stay for what they encrypted."""
        ...

    def id_of(self, ciphertext: bytes) -> str:
        """The id, as `current` gave it, of what the ciphertext was made with. Raises WrongKey for what is none."""
        ...

    def retire(self, key: str, kept: str) -> int:
        """Destroys every version older than the one of the id `kept`, and all that only they could decrypt; how many
        these were. Raises WrongKey where `kept` is no version of the key.
        """
        ...


class NotificationRefused(PermanentError):
    """The notification service will not take this; its settings or its rights are wrong."""


class NotifierUnavailable(TransientError):
    """The notification service did not answer, or answered that it is busy."""


class Notifier(Protocol):
    """Tells people. Subject and body hold no personal data. Errors: NotificationRefused, NotifierUnavailable."""

    def notify(self, subject: str, body: str, *, once: str | None = None) -> None:
        """Sends one notification. Of several with the same name `once`, a notifier that can tell sends the first."""
        ...


class Clock(Protocol):
    """The time, injected so that tests own it."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column as AWS Glue knows it. `type` is in Glue's words: bigint, decimal(12,2), array<string>.

    `source` says where the values come from, `classification` how far they may travel.
    """

    name: str
    type: str
    description: str
    source: str
    classification: str


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """One version of a table's schema. Versions count from 1; `changes` says what this one changed, in words."""

    database: str
    name: str
    version: int
    description: str
    owner: str
    location: str
    columns: tuple[CatalogColumn, ...]
    partition_keys: tuple[CatalogColumn, ...]
    parameters: Mapping[str, str]
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogPartition:
    """One partition of a table: `value` of the partition key, the folder that holds its files, and what is in it."""

    value: str
    location: str
    parameters: Mapping[str, str]


class CatalogChanged(TransientError):
    """Somebody else saved that version of the table first; read it again."""


class CatalogRefused(PermanentError):
    """The catalog will not take this; its settings or its rights are wrong."""


class CatalogUnavailable(TransientError):
    """The catalog did not answer, or answered that it is busy."""


class Catalog(Protocol):
    """Tables in databases, every version of their schemas, and their partitions.

    Errors: CatalogChanged, CatalogRefused, CatalogUnavailable; those of the object store where it keeps them there.
    """

    def tables(self) -> Sequence[CatalogTable]:
        """The newest version of every table, by database and name."""
        ...

    def versions(self, database: str, name: str) -> Sequence[CatalogTable]:
        """Every version of a table, oldest first; empty where there is no such table."""
        ...

    def save(self, table: CatalogTable) -> None:
        """Adds the version after the newest one, or version 1; raises CatalogChanged where it is another."""
        ...

    def partitions(self, database: str, name: str) -> Sequence[CatalogPartition]:
        """The table's partitions, by value."""
        ...

    def save_partition(self, database: str, name: str, partition: CatalogPartition) -> None:
        """Adds the partition, or replaces the one of that value."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was received. `receipt` is good for this receiving; `attempts` counts it, from 1."""

    id: str
    body: str
    reason: str | None  # why it is in a queue of dead letters, if its sender said so
    sent_at: datetime
    attempts: int
    receipt: str


class QueueRefused(PermanentError):
    """The queue will not take this; its settings or its rights are wrong."""


class QueueUnavailable(TransientError):
    """The queue did not answer, or answered that it is busy."""


class Queue(Protocol):
    """Messages that are handed out until they are deleted, at least once and in no order that counts.

    A message received is invisible to others for a while and then comes back; after a number of receivings that the
    queue was set up with it goes to the queue's dead letters instead. Errors: QueueRefused, QueueUnavailable.
    """

    def send(self, bodies: Sequence[str], reasons: Sequence[str] | None = None) -> None:
        """Sends messages of at most 256 KiB each. If it raises, some of them may have been sent: send them again."""
        ...

    def receive(self, limit: int, visibility: timedelta) -> Sequence[Message]:
        """At most `limit` messages; each stays invisible for `visibility`. None there: an empty answer at once."""
        ...

    def delete(self, messages: Sequence[Message]) -> None:
        """The messages are dealt with. One that has come back meanwhile, or is gone, is no error."""
        ...

    def release(self, messages: Sequence[Message]) -> None:
        """Makes the messages visible again now, for somebody to try again."""
        ...


class ClaimState(StrEnum):
    """What a claim found."""

    TAKEN = "taken"  # it is the caller's now
    HELD = "held"  # another holder has it, and its time is not over
    DONE = "done"  # finished for good


class ClaimsUnavailable(TransientError):
    """The store of claims did not answer, or answered that it is busy."""


class ClaimsRefused(PermanentError):
    """The store of claims will not take this; its settings or its rights are wrong."""


class Claims(Protocol):
    """Names that one holder at a time has: locks, and things that are to be done once.

    Errors: ClaimsRefused, ClaimsUnavailable.
    """

    def claim(self, name: str, holder: str, until: datetime) -> ClaimState:
        """Takes the name until then, unless it is finished or another holder's. A holder may take it again."""
        ...

    def finish(self, name: str, holder: str) -> bool:
        """What the name stands for is done, for good. False, and nothing changes, if it is not this holder's."""
        ...

    def release(self, name: str, holder: str) -> bool:
        """Gives the name back. False, and nothing changes, if it is not this holder's."""
        ...


@dataclass(frozen=True, slots=True)
class BusEvent:
    """Something that happened, for whoever wants to know. `id` is the same where it is told again; `detail` is JSON."""

    id: str
    source: str
    detail_type: str
    at: datetime
    detail: str


class EventBusRefused(PermanentError):
    """The bus will not take this; its settings, its rights or the event are wrong."""


class EventBusUnavailable(TransientError):
    """The bus did not answer, or answered that it is busy."""


class EventBus(Protocol):
    """Carries events to whoever subscribed, at least once: receivers tell a repetition by its id.

    Errors: EventBusRefused, EventBusUnavailable.
    """

    def publish(self, events: Sequence[BusEvent]) -> Sequence[EventBusUnavailable | EventBusRefused | None]:
        """Says for each event: None accepted for good, or why not. One not accepted may have been, all the same."""
        ...


class MetricsRefused(PermanentError):
    """The metrics service will not take this; its settings or its rights are wrong."""


class MetricsUnavailable(TransientError):
    """The metrics service did not answer, or answered that it is busy."""


Unit = Literal["Count", "Seconds", "Percent", "Bytes"]  # CloudWatch's words


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure at one moment.

    `dimensions` say what it is of: `{"Dataset": "parking_tickets"}`; nothing personal, and few values each, because
    every combination is a metric of its own.
    """

    name: str
    value: float
    unit: Unit
    at: datetime
    dimensions: Mapping[str, str]


class Metrics(Protocol):
    """Takes figures for charts and alarms, each under the deployment's own name (the dimension `Environment`).

    Errors: MetricsRefused, MetricsUnavailable. If it raises, some may have been taken: counts sent again count twice.
    """

    def put(self, namespace: str, measurements: Sequence[Measurement]) -> None: ...

"""What a stateful service is to the runtime: decode, step, wake. All three are pure: no I/O, no clock, no global.

The same stage object runs in the live loop, in the in-memory driver of tests, and in replay. Results depend on event times
alone, never on batch size, speed or how often a watermark arrives:

- `step` applies one record. What must not depend on arrival order waits in the state until `wake`.
- `wake` is called once the partition's watermark has reached a wake-up time that the state asked for: everything that
  happened at or before the watermark is then known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from cartstream.errors import Refused
from cartstream.events.times import EventTime

S = TypeVar("S", bound=msgspec.Struct)


Headers = list[tuple[str, bytes | None]]


class Message(Protocol):
    """What of Kafka's own record is asked for when it becomes a dead letter."""

    def headers(self) -> Headers | None: ...

    def timestamp(self) -> tuple[int, int]: ...


class Record(msgspec.Struct, gc=False):
    """One record as read. `message` is Kafka's own, which has what only dead letters need."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    message: Message | None = None

    @property
    def timestamp(self) -> int:
        """Kafka's, in ms."""
        return 0 if self.message is None else self.message.timestamp()[1]

    @property
    def headers(self) -> Headers:
        return [] if self.message is None else self.message.headers() or []


class Output(msgspec.Struct, array_like=True, gc=False):
    """One record to write, in the shape of `store.Wire`.

    `topic` is a name of `events.topics`; `value` is one of `events.records`, or bytes passed through."""

    topic: str
    key: str | None
    value: msgspec.Struct | bytes
    partition: int = -1
    headers: Headers | None = None
    origin: int = -1


class Step(msgspec.Struct, Generic[S], gc=False):
    """What one record or wake-up changes.

    `state` None deletes it. `wake_at` is the earliest time at which the state wants `wake` (None: no sooner than it asked for before). The
    runtime may call earlier: a wake with nothing due changes nothing and asks again.
    """

    state: S | None
    outputs: list[Output] = []
    wake_at: EventTime | None = None
    changed: bool = True
    """False: the state is as it was and need not be written."""
    outcomes: list[tuple[str, str]] = []
    """(kind, detail) pairs for the outcome counters, from small fixed sets of words."""


class Several(Exception):
    """What `Stage.decode` raises for a record that holds several events: those that can be used, and what became of the others.

    Raised, not returned: the records of one event, nearly all, then pay nothing for it, not even a look. With `refused` the whole
    record becomes a dead letter, for it is the source's own bytes that are kept; the events go on all the same.
    """

    def __init__(self, events: Sequence[Any], refused: Refused | None = None) -> None:
        super().__init__(f"{len(events)} events in one record")
        self.events = events
        self.refused = refused


class Stage(Protocol[S]):
    """A stateful service. The caller hands `state` over: `step` and `wake` may change it in place and return it."""

    name: str
    source: str
    sinks: tuple[str, ...]
    """Chain topics that this stage writes: they get its watermarks."""

    def decode(self, record: Record) -> Any:
        """The event in a record. Raises Refused: the record goes to the dead-letter topic; Several, if it holds several; Unavailable, if
        a server must be asked first: the batch is then read again, nothing is skipped."""

    def key_of(self, event: Any) -> str:
        """Whose state it changes."""

    def step(self, state: S | None, event: Any, watermark: EventTime) -> Step[S] | Output:
        """Apply one event. An Output alone: pass this on, the state is as it was. Raises nothing."""

    def wake(self, state: S, watermark: EventTime) -> Step[S]:
        """Do all that is due at or before `watermark`, in order of due time, each stamped with its own due time."""

    def encode_state(self, state: S) -> bytes: ...

    def decode_state(self, raw: bytes) -> S: ...


class Looked(Protocol):
    """What a stage may look at before the steps: the events of one partition's batch, and the states that they will meet."""

    @property
    def events(self) -> Sequence[tuple[Record, str, Any]]:
        """Record, key and event; of a watermark without a key."""

    def state_of(self, key: str) -> Any:
        """Of every key of the events; None for a new one. Must not be changed."""


@runtime_checkable
class Prepares(Protocol):
    """A stage that looks things up before the steps (identity: the directory)."""

    def prepare(self, batches: Sequence[Looked]) -> None:
        """For the batches of all partitions at once. Raises Unavailable."""


@runtime_checkable
class Source(Protocol):
    """A stage that reads the clickstream itself: its watermark comes from the records."""

    lateness_ms: int

    def time_of(self, event: Any) -> EventTime: ...


@runtime_checkable
class Remembers(Protocol):
    """A stage that knows more than the states it is given (identity: merges that it has heard of)."""

    def forget(self) -> None:
        """Work will be done again: what was learnt since from others, or by itself, must not be known yet. As after a start."""


@runtime_checkable
class Repairs(Protocol):
    """A stage whose `decode` keeps events that are not all as they should be."""

    def take_repairs(self) -> dict[str, int]:
        """How often what was mended since the last call, by reason of `events.repairs`."""


@runtime_checkable
class Measures(Protocol):
    """A stage that knows how large something has become."""

    def largest(self) -> dict[str, int]:
        """By kind, from a small fixed set of words; since the start. Asked once a round."""

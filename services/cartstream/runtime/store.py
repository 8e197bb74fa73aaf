"""Where a service keeps what it knows of a partition: one port, two adapters under one test suite."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from cartstream.errors import Fenced
from cartstream.events.times import EventTime
from cartstream.runtime.tally import Tally
from cartstream.runtime.watermarks import UNKNOWN


class Checkpoint(msgspec.Struct, array_like=True):
    """How far a partition is. `sequence` counts its writes; `generation` is the owner's, from the consumer group; `era` is the store's."""

    sequence: int = 0
    generation: int = -1
    next_offset: int = -1
    sources: dict[str, EventTime] = {}
    expected: dict[str, int] = {}
    era: int = 0


class Wire(msgspec.Struct, array_like=True, gc=False):
    """An output, encoded: as it goes to Kafka and into the outbox.

    `origin` is the offset of the record whose bytes it passes on as they came, -1 for any other. What the outbox keeps of such
    a one has no value: whoever publishes it after a crash reads the record again (see `takeover.py`). Headers were a dictionary once.
    """

    topic: str
    key: str | None
    value: bytes
    partition: int = -1
    headers: list[tuple[str, bytes | None]] | dict[str, str] | None = None
    origin: int = -1


class Batch(msgspec.Struct):
    """One atomic write: everything that a partition's batch changes."""

    checkpoint: Checkpoint
    states: dict[str, bytes | None]
    wakes: list[tuple[str, EventTime]]
    """What is new: a key may have several. Whoever is woken for nothing changes nothing."""
    outbox: list[Wire]
    tally: Tally = msgspec.field(default_factory=Tally)
    published: bool = False
    """Done again after Redis lost it: Kafka has the outputs, and a later offset."""
    light: bool = False
    """Nothing in it but watermarks: not to be written, since whoever reads them again comes to the same."""
    woken: EventTime = UNKNOWN
    """Whoever was due up to this time has been woken: the store may forget it."""


def packed(outbox: list[Wire]) -> list[Any]:
    """As an outbox keeps it: without the bytes that the source has."""
    return [(wire.topic, wire.key, b"", -1, None, wire.origin) if wire.origin >= 0 else wire for wire in outbox]


class Opened(msgspec.Struct):
    """What a new owner finds. `checkpoint` None: nothing was ever written. `wakes` are the earliest, up to `known`; None: all there are."""

    checkpoint: Checkpoint | None
    outbox: list[Wire]
    wakes: dict[str, EventTime]
    known: EventTime | None = None


class StateStore(Protocol):
    """The state of one service, by partition. One writer a partition; a second one is refused by sequence and generation."""

    def open(self, partition: int, generation: int) -> Opened:
        """Take the partition. Raises Fenced when a later generation has it, Unavailable."""

    def load(self, partition: int, keys: Sequence[str]) -> list[bytes | None]:
        """States in the order of `keys`. Raises Unavailable."""

    def load_all(self, keys: Mapping[int, Sequence[str]]) -> dict[int, list[bytes | None]]:
        """`load` for several partitions in one round trip. Raises Unavailable."""

    def wakes(self, partition: int, after: EventTime) -> tuple[dict[str, EventTime], EventTime | None]:
        """The earliest wake-ups later than `after`, all up to the time that comes second; None: there are no more. Some of them may be
        over, or given up. Raises Unavailable."""

    def commit(self, partition: int, batch: Batch) -> None:
        """All or nothing; the stored sequence must be one less than the batch's. Raises Fenced, Unavailable (nothing known: ask
        `sequence`)."""

    def commit_all(self, batches: Mapping[int, Batch]) -> dict[int, Fenced]:
        """`commit` for several partitions in few round trips. Gives those refused; the others are written. Raises Unavailable: nothing
        is known of any."""

    def sequence(self, partition: int) -> tuple[int, int]:
        """The stored (sequence, generation), to decide about a write that gave no clear answer. Raises Unavailable."""

    def sequences(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """`sequence` of each: whoever asks after `load` knows whose states those are. Raises Unavailable."""

    @property
    def doubt(self) -> int:
        """0, unless it may have gone back in time, and lost writes, since the last doubt was dispelled."""

    def dispel(self, doubt: int) -> None:
        """Somebody has looked for lost writes since there was this doubt."""


class MemoryStore:
    """In a dictionary: for the in-memory driver, replay and tests. `timer_page` is how many wake-ups it tells at a time, at least."""

    doubt = 0

    def __init__(self, timer_page: int = 1_000_000) -> None:
        self._timer_page = timer_page
        self.states: dict[int, dict[str, bytes]] = {}
        self._wakes: dict[int, list[tuple[EventTime, EventTime, str]]] = {}
        self._checkpoints: dict[int, Checkpoint] = {}
        self._outboxes: dict[int, list[Wire]] = {}

    def open(self, partition: int, generation: int) -> Opened:
        found = self._checkpoints.get(partition)
        if found is not None:
            if found.generation > generation:
                raise Fenced(f"partition {partition}: generation {found.generation} has it, ours is {generation}")
            found.generation = generation
        return Opened(
            _copy(found) if found else None,
            self._outboxes.get(partition, []),
            *self.wakes(partition, -(2**63)),
        )

    def load(self, partition: int, keys: Sequence[str]) -> list[bytes | None]:
        states = self.states.get(partition, {})
        return [states.get(key) for key in keys]

    def load_all(self, keys: Mapping[int, Sequence[str]]) -> dict[int, list[bytes | None]]:
        return {partition: self.load(partition, wanted) for partition, wanted in keys.items()}

    def wakes(self, partition: int, after: EventTime) -> tuple[dict[str, EventTime], EventTime | None]:
        later = sorted(wake for wake in self._wakes.get(partition, []) if wake[0] > after)
        known = later[self._timer_page - 1][0] if len(later) > self._timer_page else None
        due: dict[str, EventTime] = {}
        for place, at, key in later:
            if known is None or place <= known:
                due[key] = min(at, due.get(key, at))
        return due, known

    def commit(self, partition: int, batch: Batch) -> None:
        stored, generation = self.sequence(partition)
        if stored != batch.checkpoint.sequence - 1 or generation > batch.checkpoint.generation:
            raise Fenced(
                f"partition {partition}: stored write {stored} of generation {generation}, ours follows {batch.checkpoint.sequence - 1}"
            )
        self._checkpoints[partition] = _copy(batch.checkpoint)
        _apply(self.states.setdefault(partition, {}), batch.states)
        wakes = self._wakes.setdefault(partition, [])
        for key, at in batch.wakes:
            heapq.heappush(wakes, (max(at, batch.woken), at, key))
        while wakes and wakes[0][0] < batch.woken:
            heapq.heappop(wakes)
        self._outboxes[partition] = batch.outbox

    def commit_all(self, batches: Mapping[int, Batch]) -> dict[int, Fenced]:
        refused = {}
        for number, batch in batches.items():
            try:
                self.commit(number, batch)
            except Fenced as error:
                refused[number] = error
        return refused

    def sequence(self, partition: int) -> tuple[int, int]:
        found = self._checkpoints.get(partition)
        return (found.sequence, found.generation) if found else (0, -1)

    def sequences(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        return {number: self.sequence(number) for number in partitions}

    def dispel(self, doubt: int) -> None:
        """There is never one."""


def _copy(checkpoint: Checkpoint) -> Checkpoint:
    """Whoever opens a partition moves its watermarks on long before it writes."""
    return msgspec.structs.replace(checkpoint, sources=dict(checkpoint.sources), expected=dict(checkpoint.expected))


def _apply(target: dict[str, bytes], changes: dict[str, bytes | None]) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = value

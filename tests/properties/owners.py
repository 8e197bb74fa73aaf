"""A partition that two processes contend for: the real takeover, partition, commitment and store; of Kafka only what decides.

`Kafka` is one input partition, its committed offset, the consumer group's generation, and what was published. A transaction is all or
nothing, and refused when the group has moved on: that is what the broker promises.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec
from confluent_kafka import TopicPartition

from cartstream.errors import Fenced, PartitionHalted, Unavailable
from cartstream.runtime.clock import SystemClock
from cartstream.runtime.commitment import Commitment, Owned
from cartstream.runtime.health import Health
from cartstream.runtime.layout import Layout
from cartstream.runtime.metrics import StageMetrics, new_registry
from cartstream.runtime.partition import Partition
from cartstream.runtime.patience import Patience
from cartstream.runtime.progress import Progress
from cartstream.runtime.stage import Output, Record
from cartstream.runtime.store import Batch, MemoryStore, Opened, StateStore, Wire
from cartstream.runtime.takeover import Takeover
from tests.runtime.toy import Act, Count, ToyStage

LAYOUT = Layout.of(1, 1, cache_entries=1, wakes=2)
_PASSED_ON = b"as it came "


class Passed(msgspec.Struct):
    key: str
    raw: bytes


class Stage(ToyStage):
    """The toy, which also passes on what begins with a certain word, as identity does."""

    def decode(self, record: Record) -> Any:
        return Passed("p", record.value) if record.value.startswith(_PASSED_ON) else super().decode(record)

    def step(self, state: Count | None, event: Any, watermark: int) -> Any:
        return Output("counts", event.key, event.raw) if isinstance(event, Passed) else super().step(state, event, watermark)


class Fate(Enum):
    """Of a call to a server: done; not done, and no answer; done, and no answer."""

    DONE = "done"
    LOST = "lost"
    UNCLEAR = "unclear"


class Kafka:
    def __init__(self) -> None:
        self.log: list[Record] = []
        self.generation = 0
        self.committed = -1
        self.published: list[Wire] = []

    def append(self, value: bytes) -> None:
        self.log.append(Record("toys", 0, len(self.log), b"k", value))

    def pass_on(self) -> None:
        self.append(_PASSED_ON + str(len(self.log)).encode())


class Member:
    """A process's connection to Kafka: consumer, transactional producer, and reader of old records."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self.fate = Fate.DONE
        self.begun: list[Wire] | None = None

    def committed(self, places: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, self._kafka.committed) for place in places]

    def begin(self, outputs: Sequence[Wire]) -> None:
        assert self.begun is None
        self.begun = [msgspec.structs.replace(wire) for wire in outputs]

    def withdraw(self) -> None:
        self.begun = None

    def publish(self, outputs: Sequence[Wire], offsets: list[TopicPartition], group: int) -> None:
        begun, self.begun = self.begun, None
        assert begun is None or begun == list(outputs), "what was begun is what is published"
        fate, self.fate = self.fate, Fate.DONE
        if fate is Fate.LOST:
            raise Unavailable("Kafka: no answer")
        if group != self._kafka.generation:
            raise Fenced("the group has moved on")
        self._kafka.published += [msgspec.structs.replace(wire) for wire in outputs if wire.partition < 0]
        for place in offsets:
            self._kafka.committed = place.offset
        if fate is Fate.UNCLEAR:
            raise Unavailable("Kafka: no answer")

    def tell(self, marks: Sequence[Wire]) -> None:
        """Watermarks go nowhere here: the log has all that come."""

    def values(self, partition: int, first: int, last: int) -> dict[int, bytes]:
        return {record.offset: record.value for record in self._kafka.log[first : last + 1]}


class Line:
    """A process's connection to the store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.fate = Fate.DONE
        self.open, self.load, self.load_all, self.wakes = store.open, store.load, store.load_all, store.wakes
        self.commit, self.sequence, self.sequences = store.commit, store.sequence, store.sequences
        self.doubt, self.dispel = store.doubt, store.dispel

    def commit_all(self, batches: Mapping[int, Batch]) -> dict[int, Fenced]:
        fate, self.fate = self.fate, Fate.DONE
        if fate is Fate.LOST:
            raise Unavailable("Redis: no answer")
        fenced = self._store.commit_all(batches)
        if fate is Fate.UNCLEAR:
            raise Unavailable("Redis: no answer")
        return fenced


class _Unhurried(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Owner:
    """A process that has, or believes it has, the partition. It reads and steps one batch ahead of the one under way, as the loop does."""

    def __init__(self, kafka: Kafka, store: StateStore) -> None:
        self._kafka, self._member, self._line = kafka, Member(kafka), Line(store)
        progress = Progress(StageMetrics("toy", new_registry("toy", "test")), SystemClock())
        patience = Patience(Health(), progress, _Unhurried())
        self._takeover = Takeover(Stage(), "toys", self._line, self._member, self._member, patience, progress)  # type: ignore[arg-type]
        self._takeover.layout = LAYOUT
        self._commitment = Commitment(self._line, self._member, "toys", patience)  # type: ignore[arg-type]
        self.generation = 0
        self._at = 0
        self.owned: Owned | None = None
        self.stepped: Batch | None = None

    def join(self) -> None:
        """The group gives it the partition. Whoever had it need not have noticed."""
        self._kafka.generation += 1
        self.generation = self._kafka.generation
        self._take()

    def _take(self) -> None:
        self.stepped = None
        try:
            self.owned, start = self._takeover.take(0, self.generation)
            self._at = max(start, 0)
        except PartitionHalted:
            self.owned = None

    def step(self, count: int) -> None:
        """Read and step so many records. Nothing of it leaves the process."""
        assert self.owned is not None
        read = self._kafka.log[self._at : self._at + count]
        self._at += len(read)
        mine, again = self.owned.next_of(read), self.owned.repeating
        if not mine:
            return
        try:
            self.stepped = self.owned.partition.process(mine, announce=not again)
        except Fenced:
            self._take()
            return
        mine = self.owned.hold(mine, self.stepped)
        if again and mine[-1].offset < self.owned.published:
            self.stepped.outbox, self.stepped.published = [], True

    def round(self, redis: Fate = Fate.DONE, kafka: Fate = Fate.DONE) -> None:
        """Write what was stepped, and publish. While something is not in Kafka, only that."""
        assert self.owned is not None
        batches = {0: self.stepped} if self.stepped is not None and not self.owned.due else {}
        self._line.fate, self._member.fate = redis, kafka
        self._commitment.begin(batches, {0: self.owned}, self.generation)
        round = self._commitment.wait()
        self._line.fate = self._member.fate = Fate.DONE
        if round is None:
            return
        if batches:
            self.stepped = None
        if round.fenced:
            self._take()
        elif round.written:
            self.owned.partition.done()

    @property
    def behind(self) -> bool:
        assert self.owned is not None
        return self._at < len(self._kafka.log) or self.stepped is not None or self.owned.due or bool(self.owned.held)

    def close(self) -> None:
        self._commitment.close()


def reference(log: list[Record]) -> tuple[list[tuple[str | None, bytes]], dict[str, bytes]]:
    """What one process without any fault publishes and keeps."""
    store = MemoryStore()
    partition = Partition(Stage(), 0, store, Opened(None, [], {}), Layout.of(1, 1))
    batch = partition.process(log)
    assert batch.checkpoint.next_offset == len(log)
    store.commit(0, batch)
    return [(wire.key, wire.value) for wire in batch.outbox if wire.partition < 0], store.states.get(0, {})


def act(key: str, wake_at: int | None = None) -> bytes:
    return msgspec.json.encode(Act(key, wake_at=wake_at))

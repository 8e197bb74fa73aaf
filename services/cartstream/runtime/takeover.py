"""Becoming the owner of a partition: what Redis and Kafka say, and what follows from it.

| Redis | Kafka | then |
|---|---|---|
| nothing | nothing | fresh: begin with the oldest record |
| an offset | the same | level: go on |
| an offset | an earlier one, or none | a crash between the two: publish the outbox first |
| an offset | a later one | Redis lost its tail: go back and do the work again; what Kafka has of it is not published twice |
| nothing | an offset | Redis lost everything: stop, and say so |
"""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from cartstream.errors import PartitionHalted, Unavailable
from cartstream.runtime.commitment import NOTHING, Owned
from cartstream.runtime.layout import Layout
from cartstream.runtime.log import logger
from cartstream.runtime.partition import Partition
from cartstream.runtime.patience import Patience
from cartstream.runtime.progress import Progress
from cartstream.runtime.source import SourceReader
from cartstream.runtime.stage import Stage
from cartstream.runtime.store import Opened, StateStore, Wire


class Takeover:
    """For one stage and its topic. `layout` may be set until the first partition is taken."""

    def __init__(
        self,
        stage: Stage[Any],
        topic: str,
        store: StateStore,
        consumer: Any,
        source: SourceReader,
        patience: Patience,
        progress: Progress,
    ) -> None:
        self._stage = stage
        self._topic = topic
        self._store = store
        self._consumer = consumer
        self._source = source
        self._patience = patience
        self._progress = progress
        self.layout: Layout | None = None

    def take(self, number: int, generation: int) -> tuple[Owned, int]:
        """The partition, and the offset to read from. Raises Fenced, and PartitionHalted when it must not go on or the service stops."""
        opened = self._patience.insist(lambda: self._store.open(number, generation))
        committed = self._patience.insist(lambda: self.committed(number))
        if opened is None or committed is None:
            raise PartitionHalted("stopping")
        stored = opened.checkpoint.next_offset if opened.checkpoint else -1
        if opened.checkpoint is None and committed >= 0:
            raise PartitionHalted(
                f"{self._topic}[{number}]: Kafka says {committed} records were done, Redis knows nothing of them. "
                f"Restore Redis, or accept the loss with `cartstream state rebuild {self._stage.name} {number} --offset {committed}` "
                "(see docs/operations.md)"
            )
        found = _compare(stored, committed)
        if found == "redis_behind":
            logger().error("Redis lost its tail: doing the work again", partition=number, redis=stored, kafka=committed)
        self._progress.recovered(found)
        pending, offset = (self._whole(number, opened.outbox), stored) if found == "outbox_published" else ([], NOTHING)
        published = committed if found == "redis_behind" else NOTHING
        owned = Owned(self._partition(number, opened, generation), stored, pending, offset, published, read_at=time.monotonic())
        return owned, stored if stored >= 0 else OFFSET_BEGINNING

    def _whole(self, number: int, outbox: list[Wire]) -> list[Wire]:
        """An outbox says of records passed on as they came only where they are: they are read again. Raises PartitionHalted."""
        origins = [wire.origin for wire in outbox if wire.origin >= 0]
        if not origins:
            return outbox
        values = self._patience.insist(lambda: self._source.values(number, min(origins), max(origins)))
        if values is None:
            raise PartitionHalted("stopping")
        for wire in outbox:
            if wire.origin >= 0:
                wire.value = values[wire.origin]
        return outbox

    def again(self, number: int, generation: int) -> Partition[Any] | None:
        """The partition as Redis has it now; None when the service is stopping. Raises Fenced."""
        opened = self._patience.insist(lambda: self._store.open(number, generation))
        return None if opened is None else self._partition(number, opened, generation)

    def _partition(self, number: int, opened: Opened, generation: int) -> Partition[Any]:
        assert self.layout is not None
        return Partition(self._stage, number, self._store, opened, self.layout, generation)

    def committed(self, number: int) -> int:
        """The group's offset, below 0 without one; waits for the end of a transaction under way. Raises Unavailable."""
        try:
            (place,) = self._consumer.committed([TopicPartition(self._topic, number)], timeout=10)
            if place.error is not None:
                raise KafkaException(place.error)
        except KafkaException as error:
            raise Unavailable(f"Kafka (committed offsets): {error.args[0].str()}") from error
        return int(place.offset) if place.offset >= 0 else -1


def _compare(stored: int, committed: int) -> str:
    if stored == committed:
        return "level" if stored >= 0 else "fresh"
    return "redis_behind" if stored < committed else "outbox_published"

"""Batches on their way out: to Redis, one atomic write a partition, then to Kafka, one transaction for all, then the watermarks.

The transaction's records may go to the broker while Redis writes: what counts is that it is committed afterwards, or taken back.

A watermark promises that nothing earlier will come, so it goes out when what is earlier has; it need not be in the transaction, since a
new owner tells its own. So a transaction touches the partitions that it has something for, not all of those that lie downstream.

It happens in the background, one round at a time, while the loop reads and steps the next batch. The next round begins only when
this one has come to its end, since the outbox in Redis holds one batch: until Kafka has it, nothing may take its place.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import TopicPartition

from cartstream.errors import Fenced, Unavailable
from cartstream.runtime.partition import Partition
from cartstream.runtime.patience import Patience, backoff
from cartstream.runtime.publisher import Publisher
from cartstream.runtime.stage import Record
from cartstream.runtime.store import Batch, StateStore, Wire
from cartstream.runtime.teller import TELL_AGAIN_S

NOTHING = -1


@dataclass(slots=True)
class Owned:
    """A partition that this process has. `pending` is in Redis and not yet in Kafka, up to `pending_offset`; real seconds elsewhere.

    A partition that never had a record has watermarks to tell, but no offset.
    `stored` is its last write that the store has taken.
    Where Redis lost its tail, Kafka has the outputs of every record before `published`: those are done again without a word.
    """

    partition: Partition[Any]
    start: int
    pending: list[Wire]
    pending_offset: int
    published: int = NOTHING
    stored: int = field(init=False)
    held: list[Record] = field(default_factory=list)
    announced_at: float = 0.0
    written_at: float = 0.0
    unwritten: bool = False
    read_at: float = 0.0
    caught_up: bool = False

    def __post_init__(self) -> None:
        self.stored = self.partition.sequence

    @property
    def due(self) -> bool:
        """Something of it is not yet in Kafka."""
        return bool(self.pending) or self.pending_offset != NOTHING

    @property
    def repeating(self) -> bool:
        return self.partition.next_offset < self.published

    def next_of(self, read: list[Record]) -> list[Record]:
        """What to do next of the records read and those held: a batch is done again as a whole or not at all."""
        records = self.held + read if self.held else read
        again = [record for record in records if record.offset < self.published] if self.repeating else []
        self.held = records[len(again) :] if again else []
        return again or records

    def hold(self, records: list[Record], batch: Batch) -> list[Record]:
        """Keep those of the records that the batch made of them does not reach; gives the others."""
        done = batch.checkpoint.next_offset
        if not records or records[-1].offset < done:
            return records
        self.held = [record for record in records if record.offset >= done] + self.held
        return [record for record in records if record.offset < done]


@dataclass(slots=True)
class Round:
    """What one round carries, and how it ended. `fenced` are the partitions that turned out to be somebody else's."""

    batches: dict[int, Batch]
    owned: dict[int, Owned]
    written: dict[int, Batch] = field(default_factory=dict)
    fenced: dict[int, Fenced] = field(default_factory=dict)
    failure: Unavailable | None = None
    redis_s: float = 0.0
    kafka_s: float = 0.0


class Commitment:
    """`begin` and `wait` belong to the loop's thread; the work between is done in another."""

    def __init__(self, store: StateStore, publisher: Publisher, topic: str, patience: Patience) -> None:
        self._store = store
        self._publisher = publisher
        self._topic = topic
        self._patience = patience
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commitment")
        self._under_way: Future[Round] | None = None
        self._told: Future[None] = Future()
        self._told.set_result(None)
        self._told_at = 0.0

    @property
    def busy(self) -> bool:
        return self._under_way is not None

    def begin(self, batches: dict[int, Batch], owned: dict[int, Owned], group: Any) -> None:
        """Start a round with these batches, and whatever of `owned` is still pending. `group` is the consumer group's metadata."""
        if self._under_way is not None:
            raise RuntimeError("a round is under way")
        if batches or any(entry.due for entry in owned.values()):
            self._under_way = self._thread.submit(self._carry, Round(batches, dict(owned)), group)
        elif time.monotonic() - self._told_at >= TELL_AGAIN_S and self._told.done():
            # Whether the last watermarks came through shows only when somebody looks.
            self._told.result()
            self._told_at = time.monotonic()
            self._told = self._thread.submit(self._publisher.tell, [])

    def wait(self) -> Round | None:
        """How the round under way ended, None if there was none. What did not reach Kafka is still pending."""
        under_way, self._under_way = self._under_way, None
        return under_way.result() if under_way is not None else None

    def close(self) -> None:
        self._thread.shutdown()

    def _carry(self, round: Round, group: Any) -> Round:
        started = time.perf_counter()
        self._begin(round)
        self._store_all(round)
        for number, batch in round.written.items():
            if not batch.published:
                owned = round.owned[number]
                owned.pending = batch.outbox
                if not batch.light:
                    owned.pending_offset = batch.checkpoint.next_offset
        stored = time.perf_counter()
        self._publish(round, group)
        round.redis_s, round.kafka_s = stored - started, time.perf_counter() - stored
        return round

    def _begin(self, round: Round) -> None:
        """The transaction, while Redis writes; unless there is more to publish, or nothing. What Redis refuses is taken back."""
        if any(owned.due for owned in round.owned.values()):
            return
        outputs = [wire for batch in round.batches.values() if not batch.published for wire in batch.outbox if wire.partition < 0]
        if outputs:
            self._publisher.begin(outputs)

    def _store_all(self, round: Round) -> None:
        """Until each batch is in Redis or refused, or the service is stopping. An unclear answer is settled by the stored sequence."""
        round.written = {number: batch for number, batch in round.batches.items() if batch.light}
        left = {number: batch for number, batch in round.batches.items() if not batch.light}
        delays = backoff()
        while left:
            try:
                round.fenced |= self._store.commit_all(left)
            except Unavailable as error:
                self._publisher.withdraw()
                if not self._patience.wait(error, next(delays)):
                    return
                done = self._patience.insist(partial(self._written, left))
                if done is None:
                    return
            else:
                done = [number for number in left if number not in round.fenced]
                left = {number: left[number] for number in done}
            for number in done:
                round.written[number] = left.pop(number)
                round.owned[number].stored = round.written[number].checkpoint.sequence

    def _written(self, batches: dict[int, Batch]) -> list[int]:
        """Those that Redis has after all."""
        stored = self._store.sequences(list(batches))
        return [n for n, batch in batches.items() if stored[n] == (batch.checkpoint.sequence, batch.checkpoint.generation)]

    def _publish(self, round: Round, group: Any) -> None:
        due = {number: owned for number, owned in sorted(round.owned.items()) if owned.due and number not in round.fenced}
        if round.fenced:
            self._publisher.withdraw()
        if not due:
            return
        outputs = [output for owned in due.values() for output in owned.pending if output.partition < 0]
        marks = [output for owned in due.values() for output in owned.pending if output.partition >= 0]
        known = [(number, owned.pending_offset) for number, owned in due.items() if owned.pending_offset != NOTHING]
        offsets = [TopicPartition(self._topic, number, offset) for number, offset in known]
        try:
            if outputs or offsets:
                self._publisher.publish(outputs, offsets, group)
            self._publisher.tell(marks)
        # Without their frames: those know the round, and together they would keep a producer that is given up until a collection.
        except Fenced as error:
            round.fenced.update(dict.fromkeys(due, error.with_traceback(None)))
        except Unavailable as error:
            round.failure = error.with_traceback(None)
        else:
            for owned in due.values():
                owned.pending, owned.pending_offset = [], NOTHING

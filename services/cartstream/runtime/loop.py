"""The live loop of a stateful service: poll, step, one atomic Redis write a partition, one Kafka transaction.

Crash anywhere, and the next owner finds one of three things (see `_take`): Redis and Kafka level; Redis ahead, whose outbox it
publishes before it goes on; or Kafka ahead, because Redis lost its tail: then it goes back and does the work again, with
the same ids.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cartstream.errors import Fenced, PartitionHalted, Unavailable
from cartstream.runtime.clock import Clock
from cartstream.runtime.health import Health
from cartstream.runtime.kafka import consumer_config, generation_of, partition_count
from cartstream.runtime.log import logger
from cartstream.runtime.partition import Layout, Partition, StepFailed
from cartstream.runtime.progress import Progress
from cartstream.runtime.publisher import Publisher
from cartstream.runtime.settings import StageSettings
from cartstream.runtime.stage import Record, Stage
from cartstream.runtime.store import Batch, Opened, StateStore, Wire
from cartstream.runtime.watermarks import RecordWatermark

R = TypeVar("R")

BACKOFF_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Owned:
    """A partition that this process has, and when what was last done with it (real seconds)."""

    partition: Partition[Any]
    start: int
    pending: list[Wire]
    pending_offset: int
    announced_at: float = 0.0
    read_at: float = 0.0
    caught_up: bool = False


@dataclass(slots=True)
class Publication:
    """A transaction under way, and the partitions whose outbox it carries."""

    due: dict[int, Owned]
    outcome: Future[None]


class StageLoop:
    """Runs one stage until `stop` is set. One thread, one consumer, one producer."""

    def __init__(
        self,
        stage: Stage[Any],
        settings: StageSettings,
        store: StateStore,
        clock: Clock,
        progress: Progress,
        health: Health,
        stop: threading.Event,
        idle_grace_ms: int = 0,
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._store = store
        self._clock = clock
        self._progress = progress
        self._health = health
        self._stop = stop
        self._idle_grace_s = idle_grace_ms / 1000
        self._topic = settings.prefix + stage.source
        group = f"{settings.prefix}cartstream.{stage.name}"
        self._consumer = Consumer(consumer_config(settings.brokers, group, settings.session_timeout_ms, settings.instance_id))
        member = settings.instance_id or progress.instance
        self._publisher = Publisher(settings.brokers, settings.prefix, f"{group}.{member}", settings.transaction_timeout_ms / 1000)
        self._owned: dict[int, Owned] = {}
        self._halted: dict[int, str] = {}
        self._failure: Exception | None = None
        self._layout = Layout.of(1, settings.partitions)
        self._joined = False
        self._background = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._publication: Publication | None = None

    def run(self) -> None:
        """Raises PartitionHalted only when nothing else is left to do."""
        sources = self._insist(lambda: partition_count(self._consumer, self._topic))
        if sources is None:
            return
        self._layout = Layout.of(sources, self._settings.partitions, self._settings.cache_entries // max(1, sources))
        self._insist(self._publisher.connect)
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        try:
            while not self._stop.is_set():
                self._round()
            self._settle()
        finally:
            self._await_publication()
            self._consumer.close()
            self._background.shutdown()

    def _round(self) -> None:
        self._health.tick()
        started = time.perf_counter()
        records = self._poll()
        if self._failure is not None:
            raise self._failure
        polled = time.perf_counter()
        if self._publication is None:
            self._publish_pending()  # what a former owner left
        batches = self._process(records)
        stepped = time.perf_counter()
        owners = {number: self._owned[number] for number in batches}
        self._settle()
        settled = time.perf_counter()
        written = {
            number: batch for number, batch in batches.items() if self._owned.get(number) is owners[number] and self._write(number, batch)
        }
        stored = time.perf_counter()
        if written:
            self._begin_publication()
        if self._joined and not self._stop.is_set():
            self._health.ready()
        self._progress.round(
            self._owned,
            written,
            self._consumer,
            self._topic,
            (polled - started, stepped - polled, stored - settled, settled - stepped),
        )

    def _poll(self) -> dict[int, list[Record]]:
        """The first record as soon as it is there, and whatever else has come by then."""
        grouped: dict[int, list[Record]] = {}
        now = time.monotonic()
        for message in self._consume():
            fault, number = message.error(), message.partition()
            owned = self._owned.get(number)
            if fault is not None:
                self._on_error(fault, number, owned)
            elif owned is not None and number not in self._halted and message.offset() >= owned.start:
                owned.read_at, owned.caught_up = now, False
                record = Record(self._stage.source, number, message.offset(), message.key(), message.value() or b"", message.timestamp()[1])
                grouped.setdefault(number, []).append(record)
        return grouped

    def _consume(self) -> list[Any]:
        try:
            messages: list[Any] = self._consumer.consume(1, self._settings.poll_ms / 1000)
            if messages:
                messages += self._consumer.consume(self._settings.batch_size - 1, 0)
        except KafkaException as error:
            raise Unavailable(f"Kafka (consumer): {error.args[0].str()}") from error
        return messages

    def _on_error(self, error: Any, number: int, owned: Owned | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if owned is not None:
                owned.caught_up = True
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._halt(number, f"{self._topic}[{number}]: the next offset is out of retention. Nothing is skipped: see docs/operations.md")
        elif error.fatal():
            raise PartitionHalted(f"Kafka (consumer): {error.str()}")
        else:
            logger().warning("consumer error", error=error.name(), partition=number)

    def _process(self, records: dict[int, list[Record]]) -> dict[int, Batch]:
        batches = {}
        now = time.monotonic()
        for number, owned in list(self._owned.items()):
            if number in self._halted:
                continue
            mine = records.get(number, [])
            self._let_time_pass(owned, now)
            interval = self._settings.announce_ms if mine or not owned.caught_up else self._settings.idle_ms
            announce = now - owned.announced_at >= interval / 1000
            if not mine and not (announce and owned.partition.has_news):
                continue
            batch = self._batch(number, mine, announce)
            if batch is not None:
                batches[number] = batch
                if announce:
                    owned.announced_at = now
        return batches

    def _let_time_pass(self, owned: Owned, now: float) -> None:
        """A clickstream partition that is caught up and has been quiet for the grace follows the clock."""
        watermark = owned.partition.watermark
        if isinstance(watermark, RecordWatermark) and owned.caught_up and now - owned.read_at >= self._idle_grace_s:
            watermark.follow_clock(self._clock.now())

    def _batch(self, number: int, records: list[Record], announce: bool) -> Batch | None:
        """The partition's batch, with records that the program fails on set aside; None when the service is stopping."""
        aside: frozenset[int] = frozenset()
        while True:
            partition = self._owned[number].partition
            try:
                return self._insist(partial(partition.process, records, announce=announce, set_aside=aside))
            except StepFailed as failed:
                logger().error(
                    "a step failed: the record goes to the dead letters", partition=number, offset=failed.offset, exc_info=failed.error
                )
                aside |= {failed.offset}
                opened = self._insist(partial(self._store.open, number, partition.generation))
                if opened is None:
                    return None
                self._owned[number].partition = self._new_partition(number, opened, partition.generation)

    def _write(self, number: int, batch: Batch) -> bool:
        """True once the batch is in Redis. An unclear answer is settled by the stored sequence."""
        ours = batch.checkpoint
        delays = iter(BACKOFF_S)
        while True:
            try:
                self._store.commit(number, batch)
                break
            except Unavailable as error:
                self._wait(error, next(delays, BACKOFF_S[-1]))
                if self._stop.is_set():
                    return False
                stored = self._insist(lambda: self._store.sequence(number))
                if stored == (ours.sequence, ours.generation):
                    break
            except Fenced as error:
                self._fenced(number, error)
                return False
        owned = self._owned[number]
        owned.partition.done()
        owned.pending, owned.pending_offset = batch.outbox, ours.next_offset
        return True

    def _begin_publication(self) -> None:
        """What is in Redis goes to Kafka in one transaction, in the background: meanwhile the next batch is read and stepped. Its
        Redis write waits for the outcome, since it takes the outbox's place."""
        due = {number: owned for number, owned in self._owned.items() if owned.pending or owned.pending_offset >= 0}
        if not due:
            return
        outputs = [output for number in sorted(due) for output in due[number].pending]
        offsets = [
            TopicPartition(self._topic, number, owned.pending_offset) for number, owned in sorted(due.items()) if owned.pending_offset >= 0
        ]
        group = self._consumer.consumer_group_metadata()
        self._publication = Publication(due, self._background.submit(self._publisher.publish, outputs, offsets, group))

    def _await_publication(self) -> Fenced | Unavailable | None:
        """Wait for the transaction under way, if there is one. What failed stays pending."""
        publication, self._publication = self._publication, None
        if publication is None:
            return None
        try:
            publication.outcome.result()
        except (Fenced, Unavailable) as error:
            return error
        for owned in publication.due.values():
            owned.pending, owned.pending_offset = [], -1
        return None

    def _settle(self) -> None:
        """Bring the transaction under way to its end. Until it has gone through, nothing new is written."""
        due = self._publication.due if self._publication is not None else {}
        error = self._await_publication()
        delays = iter(BACKOFF_S)
        while error is not None:
            if isinstance(error, Fenced):
                for number, owned in due.items():
                    if self._owned.get(number) is owned:
                        self._fenced(number, error)
                return
            self._progress.commit_failed()
            self._wait(error, next(delays, BACKOFF_S[-1]))
            if self._stop.is_set():
                return
            self._begin_publication()
            due = self._publication.due if self._publication is not None else {}
            error = self._await_publication()

    def _publish_pending(self) -> None:
        self._begin_publication()
        self._settle()

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._joined = True
        generation = generation_of(consumer)
        places = []
        for place in partitions:
            try:
                place.offset = self._take(place.partition, generation)
            except PartitionHalted as error:
                self._halt(place.partition, str(error))
                continue
            except Exception as error:  # raising here would lose what consume() holds: the loop raises it
                self._failure = error
                continue
            places.append(place)
        consumer.incremental_assign(places)
        self._progress.rebalanced("assigned", len(partitions), len(self._owned))

    def _take(self, number: int, generation: int) -> int:
        """Become the owner: where to read from."""
        opened = self._insist(lambda: self._store.open(number, generation))
        committed = self._insist(lambda: self._committed(number))
        if opened is None or committed is None:
            raise PartitionHalted("stopping")
        stored = opened.checkpoint.next_offset if opened.checkpoint else -1
        if opened.checkpoint is None and committed >= 0:
            raise PartitionHalted(
                f"{self._topic}[{number}]: Kafka says {committed} records were done, Redis knows nothing of them. "
                f"Restore Redis, or accept the loss with `cartstream state rebuild {self._stage.name} {number} --offset {committed}` "
                "(see docs/operations.md)"
            )
        found = (
            "fresh"
            if stored < 0 and committed < 0
            else "level"
            if stored == committed
            else "redis_behind"
            if stored < committed
            else "outbox_published"
        )
        pending, offset = (opened.outbox, stored) if found == "outbox_published" else ([], -1)
        if found == "redis_behind":
            logger().error("Redis lost its tail: doing the work again", partition=number, redis=stored, kafka=committed)
        self._progress.recovered(found)
        start = max(stored, 0) if stored >= 0 else -2
        self._owned[number] = Owned(self._new_partition(number, opened, generation), stored, pending, offset, read_at=time.monotonic())
        return start

    def _new_partition(self, number: int, opened: Opened, generation: int) -> Partition[Any]:
        return Partition(self._stage, number, self._store, opened, self._layout, generation)

    def _committed(self, number: int) -> int:
        try:
            (place,) = self._consumer.committed([TopicPartition(self._topic, number)], timeout=10)
        except KafkaException as error:
            raise Unavailable(f"Kafka (committed offsets): {error.args[0].str()}") from error
        return int(place.offset) if place.offset >= 0 else -1

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Between polls every batch is in Redis; what is not published by then, the next owner publishes."""
        self._await_publication()
        self._drop(partitions, "revoked")
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._await_publication()
        self._drop(partitions, "lost")
        consumer.incremental_unassign(partitions)

    def _drop(self, partitions: list[TopicPartition], event: str) -> None:
        for place in partitions:
            self._owned.pop(place.partition, None)
            self._halted.pop(place.partition, None)
        self._show_halted()
        self._progress.rebalanced(event, len(partitions), len(self._owned))

    def _fenced(self, number: int, error: Fenced) -> None:
        """Somebody else wrote, or the group has moved on: drop what we hold. If the partition is still ours, start again from Redis."""
        self._progress.fenced()
        logger().warning("fenced", partition=number, why=str(error))
        owned = self._owned.pop(number, None)
        if owned is None:
            return
        generation = generation_of(self._consumer)
        try:
            start = self._take(number, generation)
            self._consumer.seek(TopicPartition(self._topic, number, start))
        except (PartitionHalted, KafkaException) as still:
            self._owned.pop(number, None)
            logger().warning("waiting for the group to say whose partition it is", partition=number, why=str(still))

    def _halt(self, number: int, why: str) -> None:
        logger().error("partition stopped", partition=number, why=why)
        self._halted[number] = why
        self._show_halted()

    def _show_halted(self) -> None:
        self._progress.halted(len(self._halted))
        self._health.stuck("; ".join(self._halted.values()) or None)

    def _insist(self, act: Callable[[], R]) -> R | None:
        """Again, with backoff, while a server does not answer; None when the service is stopping."""
        delays = iter(BACKOFF_S)
        while True:
            try:
                return act()
            except Unavailable as error:
                self._wait(error, next(delays, BACKOFF_S[-1]))
                if self._stop.is_set():
                    return None

    def _wait(self, error: Unavailable, seconds: float) -> None:
        self._health.not_ready(str(error))
        self._health.tick()
        logger().warning("waiting", why=str(error), seconds=seconds)
        self._progress.unavailable()
        self._stop.wait(seconds)

"""The live loop of a stateful service: poll, step, and hand the batches over to be written and published.

Crash anywhere, and the next owner finds out what is missing (see `takeover.py`).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cartstream.errors import Fenced, PartitionHalted, Unavailable, Unclear
from cartstream.runtime.clock import Clock
from cartstream.runtime.commitment import NOTHING, Commitment, Owned, Round
from cartstream.runtime.health import Health
from cartstream.runtime.kafka import consumer_config, generation_of, partition_count
from cartstream.runtime.log import logger
from cartstream.runtime.partition import Draft, Layout, RecordTooLarge, StepFailed, complete
from cartstream.runtime.patience import Patience, backoff
from cartstream.runtime.progress import Progress
from cartstream.runtime.publisher import Publisher
from cartstream.runtime.settings import StageSettings
from cartstream.runtime.source import SourceReader
from cartstream.runtime.stage import Record, Remembers, Stage
from cartstream.runtime.store import Batch, StateStore
from cartstream.runtime.takeover import Takeover
from cartstream.runtime.watermarks import RecordWatermark

# Polls come every few milliseconds, and lateness covers a second.
ASLEEP_S = 1.0
LIGHT_S = 1.0
"""How long a partition's progress may stay unwritten while nothing but time passes."""


@dataclass(slots=True)
class Turn:
    """What one partition does in a round. `again`: Kafka has the outputs of some of it already."""

    number: int
    owned: Owned
    records: list[Record]
    announce: bool
    may_be_light: bool
    again: bool


class StageLoop:
    """Runs one stage until `stop` is set. One thread reads and steps, another writes; one consumer, one producer."""

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
        self._patience = Patience(health, progress, stop)
        self._store = store
        self._commitment = Commitment(store, self._publisher, self._topic, self._patience)
        source = SourceReader(settings.brokers, self._topic)
        self._takeover = Takeover(stage, self._topic, store, self._consumer, source, self._patience, progress)
        self._owned: dict[int, Owned] = {}
        self._halted: dict[int, str] = {}
        self._cast_out: set[int] = set()
        self._failure: Exception | None = None
        self._joined = False
        self._polled_at, self._asked_at = time.monotonic(), clock.now()

    def run(self) -> None:
        """Raises PartitionHalted only when nothing else is left to do."""
        sources = self._patience.insist(lambda: partition_count(self._consumer, self._topic))
        if sources is None:
            return
        self._takeover.layout = Layout.of(sources, self._settings.partitions, self._settings.cache_entries // max(1, sources))
        self._patience.insist(self._publisher.connect)
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        try:
            while not self._stop.is_set():
                self._round()
            self._settle({})
        finally:
            self._commitment.wait()
            self._consumer.close()
            self._commitment.close()
            self._publisher.close()

    def _round(self) -> None:
        self._health.tick()
        started = time.perf_counter()
        self._look_at_the_clock()
        records = self._poll()
        if self._failure is not None:
            raise self._failure
        self._take_again()
        polled = time.perf_counter()
        if not self._commitment.busy:
            self._commit({})  # what a former owner left
            self._settle({})
        owners = dict(self._owned)
        batches = self._process(records)
        stepped = time.perf_counter()
        self._settle(batches, stepped - polled)
        settled = time.perf_counter()
        if not self._stop.is_set():
            self._commit({number: batch for number, batch in batches.items() if self._owned.get(number) is owners[number]})
            if self._joined:
                self._health.ready()
        self._progress.polled(polled - started, stepped - polled, settled - stepped)
        self._progress.lags(self._consumer, self._topic, list(self._owned))

    def _look_at_the_clock(self) -> None:
        """Before each poll: what is caught up then has everything up to now. After a pause of the process (a stopped one wakes up, a host
        swaps) nobody knows how quiet its partitions were: their grace begins anew."""
        now = time.monotonic()
        if now - self._polled_at > ASLEEP_S:
            for owned in self._owned.values():
                owned.read_at = now
        self._polled_at, self._asked_at = now, self._clock.now()

    def _poll(self) -> dict[int, list[Record]]:
        """The first record as soon as it is there, and whatever else has come by then."""
        grouped: dict[int, list[Any]] = {}
        at_end: set[int] = set()
        for message in self._consume():
            fault, number = message.error(), message.partition()
            if fault is not None:
                if self._is_end(fault, number):
                    at_end.add(number)
                continue
            if at_end:
                at_end.discard(number)
            if number in grouped:
                grouped[number].append(message)
            else:
                grouped[number] = [message]
        for number, owned in self._owned.items():
            if number in grouped or number in at_end:
                owned.caught_up = number in at_end
        mine = {number: messages for number, messages in grouped.items() if number in self._owned and number not in self._halted}
        return {number: self._records(number, messages) for number, messages in mine.items()}

    def _records(self, number: int, messages: list[Any]) -> list[Record]:
        owned, source = self._owned[number], self._stage.source
        owned.read_at = time.monotonic()
        if messages[0].offset() < owned.start:
            messages = [message for message in messages if message.offset() >= owned.start]
        return [Record(source, number, message.offset(), message.key(), message.value() or b"", message) for message in messages]

    def _consume(self) -> list[Any]:
        try:
            messages: list[Any] = self._consumer.consume(1, self._settings.poll_ms / 1000)
            if messages:
                messages += self._consumer.consume(self._settings.batch_size - 1, 0)
        except KafkaException as error:
            raise Unavailable(f"Kafka (consumer): {error.args[0].str()}") from error
        return messages

    def _is_end(self, error: Any, number: int) -> bool:
        """Whether it only says that the partition has no more for now. Anything else is seen to."""
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._halt(
                number,
                f"{self._topic}[{number}]: the next offset is out of retention. Nothing is skipped; to accept the loss, "
                f"`cartstream state skip {self._stage.name} {number}` (see docs/operations.md)",
            )
        elif error.fatal():
            raise PartitionHalted(f"Kafka (consumer): {error.str()}")
        else:
            logger().warning("consumer error", error=error.name(), partition=number)
        return False

    def _process(self, records: dict[int, list[Record]]) -> dict[int, Batch]:
        """What each partition makes of its records. The states of all are read, and looked up, together: few round trips a round."""
        now = time.monotonic()
        turns = [turn for number in self._owned if (turn := self._turn(number, records.get(number, []), now)) is not None]
        drafts = self._patience.insist(lambda: self._drafts(turns), self._forget) or {}
        batches: dict[int, Batch] = {}
        for turn in turns:
            batch = self._batch_or_halt(turn, drafts.get(turn.number))
            if batch is not None:
                _note(turn, batch, now)
                batches[turn.number] = batch
        return batches

    def _turn(self, number: int, records: list[Record], now: float) -> Turn | None:
        """None for a partition that has nothing to do."""
        owned = self._owned[number]
        if number in self._halted:
            return None
        mine, again = owned.next_of(records), owned.repeating
        by_clock = self._let_time_pass(owned, self._polled_at)
        # The clock has news in every round. News that came from upstream must not wait: they would at every service of the chain.
        interval = self._settings.idle_ms if by_clock else self._settings.announce_ms
        announce = now - owned.announced_at >= interval / 1000 and not again
        overdue = now - owned.written_at >= LIGHT_S
        if not mine and not (announce and owned.partition.has_news) and not (overdue and owned.unwritten):
            return None
        return Turn(number, owned, mine, announce, may_be_light=not (overdue or again), again=again)

    def _drafts(self, turns: list[Turn]) -> dict[int, Draft[Any]]:
        """Complete, for each partition whose records can all be read; the others have something to be set aside, one by one."""
        drafts: dict[int, Draft[Any]] = {}
        for turn in turns:
            try:
                drafts[turn.number] = turn.owned.partition.read(turn.records, announce=turn.announce, may_be_light=turn.may_be_light)
            except (StepFailed, PartitionHalted):
                continue
        if drafts:
            complete(list(drafts.values()), self._store, self._stage)
        return drafts

    def _batch_or_halt(self, turn: Turn, draft: Draft[Any] | None) -> Batch | None:
        """None when there is none: the service is stopping, or the partition stops. What comes before a record too large is still done."""
        try:
            return self._batch(turn, draft)
        except RecordTooLarge as error:
            self._halt(turn.number, str(error))
            turn.records = [record for record in turn.records if record.offset < error.offset]
            return self._batch(turn, None) if turn.records else None
        except PartitionHalted as error:
            del self._owned[turn.number]
            self._halt(turn.number, str(error))
            return None

    def _batch(self, turn: Turn, draft: Draft[Any] | None) -> Batch | None:
        """The partition's batch, with records that the program fails on set aside; None when the service is stopping, or when settling
        another's has taken this one away."""
        aside: frozenset[int] = frozenset()
        while self._owned.get(turn.number) is turn.owned:
            try:
                if draft is not None:
                    return draft.partition.step(draft)
                work = partial(
                    turn.owned.partition.process, turn.records, announce=turn.announce, set_aside=aside, may_be_light=turn.may_be_light
                )
                return self._patience.insist(work, self._forget)
            except StepFailed as failed:
                said = {"partition": turn.number, "offset": failed.offset}
                logger().error("a step failed: the record goes to the dead letters", **said, exc_info=failed.error)
                draft, aside = None, aside | {failed.offset}
                if not self._open_again(turn):
                    return None
        return None

    def _open_again(self, turn: Turn) -> bool:
        """Throw away what a failed step may have left half done. False when the partition is gone or the service is stopping."""
        self._settle({}, shrink=False)
        if self._owned.get(turn.number) is not turn.owned:
            return False
        partition = self._takeover.again(turn.number, turn.owned.partition.generation)
        if partition is not None:
            turn.owned.partition = partition
        return partition is not None

    def _let_time_pass(self, owned: Owned, now: float) -> bool:
        """A clickstream partition that is caught up and has been quiet for the grace follows the clock. Whether it does."""
        watermark = owned.partition.watermark
        if isinstance(watermark, RecordWatermark) and owned.caught_up and now - owned.read_at >= self._idle_grace_s:
            watermark.follow_clock(self._asked_at)
            return True
        return False

    def _commit(self, batches: dict[int, Batch]) -> None:
        self._commitment.begin(batches, self._owned, self._consumer.consumer_group_metadata())

    def _settle(self, next_batches: dict[int, Batch], step_s: float = 0.0, shrink: bool = True) -> None:
        """Bring the round under way to its end. Until it is in Kafka, nothing new is written.

        `next_batches` are stepped and not yet written: their states must stay in the cache. In the middle of a round nothing of it may
        `shrink`: what is read for the steps to come must stay too.
        """
        delays = backoff()
        while (round := self._commitment.wait()) is not None:
            self._progress.committed(round, self._owned, step_s)
            self._finish(round, next_batches, shrink)
            if round.failure is None:
                return
            self._progress.commit_failed()
            if not self._patience.wait(round.failure, next(delays)):
                return
            if isinstance(round.failure, Unclear):
                self._find_out()
            self._commit({})

    def _find_out(self) -> None:
        """Which of what is pending has been published by a transaction whose commit had no answer."""
        self._patience.insist(self._publisher.connect)
        for number, owned in self._owned.items():
            if owned.pending_offset != NOTHING:
                committed = self._patience.insist(partial(self._takeover.committed, number))
                if committed is not None and committed >= owned.pending_offset:
                    owned.pending, owned.pending_offset = [], NOTHING

    def _finish(self, round: Round, next_batches: dict[int, Batch], shrink: bool) -> None:
        for number in round.written if shrink else ():
            if self._owned.get(number) is round.owned[number]:
                unwritten = next_batches.get(number)
                round.owned[number].partition.done(unwritten.states if unwritten else {})
        for number, error in round.fenced.items():
            if self._owned.get(number) is round.owned[number]:
                self._fenced(number, error)

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._joined = True
        self._forget()
        generation = generation_of(consumer)
        places = []
        for place in partitions:
            try:
                self._owned[place.partition], place.offset = self._takeover.take(place.partition, generation)
            except PartitionHalted as error:
                self._halt(place.partition, str(error))
                continue
            except Exception as error:  # raising here would lose what consume() holds: the loop raises it
                self._failure = error
                continue
            places.append(place)
        consumer.incremental_assign(places)
        self._progress.rebalanced("assigned", len(partitions), len(self._owned))

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """What is in Redis and not in Kafka by then, the next owner publishes."""
        self._drop(partitions, "revoked")
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._drop(partitions, "lost")
        consumer.incremental_unassign(partitions)

    def _drop(self, partitions: list[TopicPartition], event: str) -> None:
        round = self._commitment.wait()
        for place in partitions:
            self._owned.pop(place.partition, None)
            self._halted.pop(place.partition, None)
            self._cast_out.discard(place.partition)
        if round is not None:
            self._finish_quietly(round)
        self._show_halted()
        self._progress.rebalanced(event, len(partitions), len(self._owned))

    def _finish_quietly(self, round: Round) -> None:
        """Inside a callback of the consumer. What the group leaves with us is assigned to nobody anew: it is taken again afterwards."""
        if round.failure is not None:
            self._progress.commit_failed()
        for number, owned in round.owned.items():
            if self._owned.get(number) is not owned:
                if number in round.fenced:
                    self._refused(number, round.fenced[number])
                continue
            if number in round.fenced:
                self._throw_out(number, round.fenced[number])
            elif number in round.batches and number not in round.written:
                del self._owned[number]
                self._halt(number, f"{self._topic}[{number}]: not written when the service was told to stop; the next owner does it again")
            elif number in round.written:
                owned.partition.done({})

    def _fenced(self, number: int, error: Fenced) -> None:
        """Somebody else wrote, or the group has moved on: drop what we hold. If the partition is still ours, start again from Redis."""
        self._throw_out(number, error)
        self._take_again()

    def _throw_out(self, number: int, error: Fenced) -> None:
        self._refused(number, error)
        del self._owned[number]
        self._cast_out.add(number)

    def _refused(self, number: int, error: Fenced) -> None:
        self._progress.fenced()
        logger().warning("fenced", partition=number, why=str(error))

    def _take_again(self) -> None:
        """What was fenced and not given away since. Outside of callbacks only."""
        if self._cast_out:
            self._forget()
        for number in sorted(self._cast_out):
            self._cast_out.discard(number)
            try:
                owned, start = self._takeover.take(number, generation_of(self._consumer))
                self._consumer.seek(TopicPartition(self._topic, number, start))
                self._owned[number] = owned
            except KafkaException as error:
                logger().warning("taking a fenced partition again in the next round", partition=number, why=error.args[0].str())
                self._cast_out.add(number)
            except PartitionHalted as error:
                self._halt(number, f"{self._topic}[{number}]: fenced; waiting for the group to say whose it is ({error})")

    def _forget(self) -> None:
        """Before work that was begun, here or elsewhere, is done again."""
        if isinstance(self._stage, Remembers):
            self._stage.forget()

    def _halt(self, number: int, why: str) -> None:
        logger().error("partition stopped", partition=number, why=why)
        self._halted[number] = why
        self._show_halted()

    def _show_halted(self) -> None:
        self._progress.halted(len(self._halted))
        self._health.stuck("; ".join(self._halted.values()) or None)


def _note(turn: Turn, batch: Batch, now: float) -> None:
    owned = turn.owned
    owned.unwritten = batch.light
    if not batch.light:
        owned.written_at = now
    if turn.again and turn.records[-1].offset < owned.published:
        batch.outbox, batch.published = [], True
    if turn.announce:
        owned.announced_at = now

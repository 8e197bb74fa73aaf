"""The live loop of a stateful service: poll, step, and hand the batches over to be written and published.

Crash anywhere, and the next owner finds out what is missing (see `takeover.py`).
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from cartstream.errors import Fenced, PartitionHalted, Unclear
from cartstream.runtime.clock import Clock
from cartstream.runtime.commitment import NOTHING, Commitment, Owned, Round
from cartstream.runtime.halts import Halts
from cartstream.runtime.health import Health
from cartstream.runtime.intake import Intake
from cartstream.runtime.kafka import consumer_config, generation_of, partition_count
from cartstream.runtime.layout import Layout
from cartstream.runtime.lifeline import Lifeline
from cartstream.runtime.log import logger
from cartstream.runtime.patience import Patience, backoff
from cartstream.runtime.progress import Progress
from cartstream.runtime.publisher import Publisher
from cartstream.runtime.settings import StageSettings
from cartstream.runtime.source import SourceReader
from cartstream.runtime.stage import Stage
from cartstream.runtime.store import Batch, StateStore
from cartstream.runtime.takeover import Takeover
from cartstream.runtime.turns import Turns


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
        self._settings = settings
        self._progress = progress
        self._health = health
        self._stop = stop
        self._topic = settings.prefix + stage.source
        group = f"{settings.prefix}cartstream.{stage.name}"
        self._consumer = Consumer(consumer_config(settings.brokers, group, settings.session_timeout_ms, settings.instance_id))
        self._lifeline = Lifeline(self._consumer, settings.brokers, self._topic)
        member = settings.instance_id or progress.instance
        self._publisher = Publisher(settings.brokers, settings.prefix, f"{group}.{member}", settings.transaction_timeout_ms / 1000)
        self._patience = Patience(health, progress, stop)
        self._commitment = Commitment(store, self._publisher, self._topic, self._patience)
        source = SourceReader(settings.brokers, self._topic)
        self._takeover = Takeover(stage, self._topic, store, self._consumer, source, self._patience, progress)
        self._owned: dict[int, Owned] = {}
        self._halts = Halts(health, progress)
        self._cast_out: set[int] = set()
        self._failure: Exception | None = None
        self._joined = False
        self._intake = Intake(
            self._consumer, self._topic, stage.source, stage.name, settings.poll_ms / 1000, settings.batch_size, self._owned, self._halts
        )
        self._turns = Turns(
            stage,
            settings,
            store,
            clock,
            self._patience,
            self._takeover,
            self._owned,
            self._halts,
            partial(self._settle, {}, shrink=False),
            self._throw_out,
            idle_grace_ms / 1000,
        )

    def run(self) -> None:
        """Raises PartitionHalted only when nothing else is left to do."""
        sources = self._patience.insist(lambda: partition_count(self._consumer, self._topic))
        if sources is None:
            return
        cache_entries = self._settings.cache_entries // max(1, sources)
        self._takeover.layout = Layout.of(sources, self._settings.partitions, cache_entries, self._settings.batch_size)
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
        self._turns.begin()
        records = self._intake.poll()
        self._lifeline.look(heard=bool(records))
        if self._failure is not None:
            raise self._failure
        self._take_again()
        polled = time.perf_counter()
        if not self._commitment.busy:
            self._commit({})  # what a former owner left
            self._settle({})
        owners = dict(self._owned)
        batches = self._turns.take(records)
        stepped = time.perf_counter()
        self._settle(batches, stepped - polled)
        settled = time.perf_counter()
        if not self._stop.is_set():
            self._commit({number: batch for number, batch in batches.items() if self._owned.get(number) is owners[number]})
            if self._joined:
                self._health.ready()
        self._progress.polled(polled - started, stepped - polled, settled - stepped)
        self._progress.lags(self._consumer, self._topic, list(self._owned))

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
        self._turns.forget()
        generation = generation_of(consumer)
        places = []
        for place in partitions:
            try:
                self._owned[place.partition], place.offset = self._takeover.take(place.partition, generation)
            except PartitionHalted as error:
                self._halts.add(place.partition, str(error))
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
            self._cast_out.discard(place.partition)
        if round is not None:
            self._finish_quietly(round)
        self._halts.drop([place.partition for place in partitions])
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
                self._halts.add(
                    number, f"{self._topic}[{number}]: not written when the service was told to stop; the next owner does it again"
                )
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
            self._turns.forget()
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
                self._halts.add(number, f"{self._topic}[{number}]: fenced; waiting for the group to say whose it is ({error})")

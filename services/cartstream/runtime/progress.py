"""What the loop tells the metrics: once a round, never per record."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition

from cartstream.events.times import EventTime
from cartstream.runtime.clock import Clock
from cartstream.runtime.log import logger
from cartstream.runtime.metrics import StageMetrics
from cartstream.runtime.stage import Measures
from cartstream.runtime.store import Batch
from cartstream.runtime.watermarks import UNKNOWN

if TYPE_CHECKING:
    from cartstream.runtime.commitment import Owned, Round

_LAG_EVERY_S = 1.0


class Progress:
    """Fills `StageMetrics`. `instance` tells this process from its siblings."""

    def __init__(self, metrics: StageMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._service = metrics.service
        self._lag_at = 0.0
        self.instance = f"{socket.gethostname()}-{os.getpid()}"

    def polled(self, poll_s: float, step_s: float, wait_s: float) -> None:
        """One poll of the loop: waiting for records, stepping them, waiting for the round before."""
        metrics = self._metrics
        metrics.last_poll.set(time.time())
        for phase, seconds in (("poll", poll_s), ("step", step_s), ("wait", wait_s)):
            metrics.phase_seconds(self._service, phase).inc(seconds)

    def committed(self, round: Round, owned: dict[int, Owned], step_s: float) -> None:
        """A round has come to its end."""
        metrics, now = self._metrics, time.time()
        metrics.phase_seconds(self._service, "redis").inc(round.redis_s)
        metrics.phase_seconds(self._service, "kafka").inc(round.kafka_s)
        if not round.written:
            return
        metrics.batch_seconds.observe(step_s + round.redis_s + round.kafka_s)
        metrics.redis_seconds.observe(round.redis_s)
        for number, batch in round.written.items():
            self._batch(round.owned[number].partition, batch, now)
        stage = next(iter(round.owned.values())).partition.stage
        for kind, size in stage.largest().items() if isinstance(stage, Measures) else ():
            metrics.largest(self._service, kind).set(size)
        metrics.timers_pending.set(sum(entry.partition.timers_pending for entry in owned.values()))

    def lags(self, consumer: Any, topic: str, numbers: list[int]) -> None:
        """At most once a second."""
        now = time.monotonic()
        if now - self._lag_at >= _LAG_EVERY_S:
            self._lag_at = now
            self._lags(numbers, consumer, topic)

    def _batch(self, partition: Any, batch: Batch, now: float) -> None:
        metrics, service, tally = self._metrics, self._service, batch.tally
        if tally.consumed:
            metrics.consumed(service, partition.stage.source).inc(tally.consumed)
            metrics.last_processed.set(now)
        refused = sum(tally.refused.values())
        control = tally.outcomes.get("control", 0)
        apart = {detail: count for (kind, detail), count in tally.found.items() if kind == "record"}
        for outcome, count in {**apart, "dlq": refused, "control": control}.items():
            if count:
                metrics.processed(service, outcome).inc(count)
        metrics.processed(service, "ok").inc(max(0, tally.consumed - refused - control - sum(apart.values())))
        for reason, count in tally.refused.items():
            metrics.dlq(service, reason).inc(count)
        for (kind, detail), count in tally.found.items():
            metrics.outcomes(service, kind, detail).inc(count)
        self._outputs(batch)
        self._times(partition, tally.newest, tally.fired, tally.latest_fire)

    def _outputs(self, batch: Batch) -> None:
        """Without watermarks, the only records that name their partition: an idle pipeline would seem busy."""
        counts: dict[str, int] = {}
        for output in batch.outbox:
            if output.partition < 0:
                counts[output.topic] = counts.get(output.topic, 0) + 1
        for topic, count in counts.items():
            self._metrics.produced(self._service, topic).inc(count)

    def _times(self, partition: Any, newest: EventTime, fired: int, latest_fire: EventTime) -> None:
        metrics, watermark = self._metrics, partition.watermark.value
        if newest != UNKNOWN:
            metrics.event_age.observe(max(0.0, (self._clock.now() - newest) / 1000 / self._clock.speed))
        if watermark > UNKNOWN:
            metrics.watermark(self._service, str(partition.number)).set(watermark / 1000)
        if fired:
            metrics.timers_fired.inc(fired)
            metrics.timer_lateness.observe(max(0.0, (watermark - latest_fire) / 1000 / self._clock.speed))

    def _lags(self, numbers: list[int], consumer: Any, topic: str) -> None:
        places = [TopicPartition(topic, number) for number in numbers]
        if not places:
            return
        try:
            for place in consumer.position(places):
                _, end = consumer.get_watermark_offsets(place, cached=True)
                if place.offset >= 0 and end >= 0:
                    self._metrics.lag(self._service, str(place.partition)).set(max(0, end - place.offset))
        except KafkaException as error:
            logger().debug("lag not known", error=error.args[0].name())

    def rebalanced(self, event: str, count: int, owned: int) -> None:
        self._metrics.rebalances(self._service, event).inc(count)
        self._metrics.partitions.set(owned)

    def recovered(self, found: str) -> None:
        self._metrics.recoveries(self._service, found).inc()

    def fenced(self) -> None:
        self._metrics.fenced.inc()

    def commit_failed(self) -> None:
        self._metrics.commit_failures.inc()

    def halted(self, count: int) -> None:
        self._metrics.halted.set(count)

    def unavailable(self) -> None:
        self._metrics.waits.inc()

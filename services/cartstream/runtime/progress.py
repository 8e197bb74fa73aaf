"""What the loop tells the metrics: once a round, never per record."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from cartstream.events.times import EventTime
from cartstream.runtime.clock import Clock
from cartstream.runtime.log import logger
from cartstream.runtime.metrics import StageMetrics
from cartstream.runtime.store import Batch
from cartstream.runtime.watermarks import UNKNOWN

_PHASES = ("poll", "step", "redis", "kafka")
_LAG_EVERY_S = 1.0


class Progress:
    """Fills `StageMetrics`. `instance` tells this process from its siblings."""

    def __init__(self, metrics: StageMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._service = metrics.service
        self._lag_at = 0.0
        self.instance = f"{socket.gethostname()}-{os.getpid()}"

    def round(self, owned: dict[int, Any], written: dict[int, Batch], consumer: Any, topic: str, phases: tuple[float, ...]) -> None:
        metrics, service, now = self._metrics, self._service, time.time()
        metrics.last_poll.set(now)
        for phase, seconds in zip(_PHASES, phases, strict=True):
            metrics.phase_seconds(service, phase).inc(seconds)
        if written:
            metrics.batch_seconds.observe(sum(phases[1:]))
            metrics.redis_seconds.observe(phases[2])
            for number, batch in written.items():
                if number in owned:
                    self._batch(owned[number].partition, batch, now)
            metrics.timers_pending.set(sum(entry.partition.timers_pending for entry in owned.values()))
        if now - self._lag_at >= _LAG_EVERY_S:
            self._lag_at = now
            self._lags(owned, consumer, topic)

    def _batch(self, partition: Any, batch: Batch, now: float) -> None:
        metrics, service, tally = self._metrics, self._service, partition.tally
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

    def _lags(self, owned: dict[int, Any], consumer: Any, topic: str) -> None:
        places = [TopicPartition(topic, number) for number in owned]
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

"""Plays events to the clickstream, each at its own time on the demo's clock, as a retailer's collector would."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import orjson
from confluent_kafka import KafkaError, Producer

from cartstream.demo.clock import DemoClock
from cartstream.errors import Unavailable
from cartstream.events.adapters.recorded import Recorded, event

_WATCHED = (b'"Order Completed"', b'"Exit Intent"')
_LONGEST_NAP_S = 0.05
_FLUSH_SECONDS = 10.0


class Player(threading.Thread):
    """`prime`, then start it with the clock; it ends after the last event, or soon after `cancel`.

    `produced_ms` has the real time at which each order and exit was sent, by message id; of an event that comes twice, the first.
    """

    def __init__(self, events: Sequence[Recorded], clock: DemoClock, brokers: str, topic: str) -> None:
        super().__init__(name="player", daemon=True)
        self._events, self._clock, self._topic = events, clock, topic
        self._producer: Producer | None = Producer(
            {"bootstrap.servers": brokers, "partitioner": "murmur2_random", "enable.idempotence": True, "linger.ms": 2, "log_level": 3}
        )
        self._cancelled = threading.Event()
        self._failed: str | None = None
        self._ids = _watched(events)
        self.produced_ms: dict[str, int] = {}
        self.sent = 0
        self.latest_ms = 0.0

    def prime(self, partitions: int) -> None:
        """A `group` event, which means nothing to anybody, for each partition. Raises Unavailable.

        A partition that was quiet through the warm-up follows the clock: at the demo's speed, its first event would be hours late.
        """
        assert self._producer is not None
        for number in range(partitions):
            nothing = event(self._clock.origin, f"demo-{number}", f"demo-{number}", "group")
            self._producer.produce(self._topic, nothing.value, nothing.key, number, on_delivery=self._delivered)
        self._producer.flush(_FLUSH_SECONDS)
        self.check()

    def run(self) -> None:
        # Taken along, so that it ends with the play: one that outlived the broker would complain about it.
        producer, self._producer = self._producer, None
        assert producer is not None
        for index, record in enumerate(self._events):
            self._wait_until(self._clock.real_s(record.at), producer)
            if self._cancelled.is_set():
                break
            producer.produce(self._topic, record.value, record.key, on_delivery=self._delivered)
            message_id = self._ids.get(index)
            if message_id is not None:
                self.produced_ms.setdefault(message_id, time.time_ns() // 1_000_000)
            self.sent += 1
            producer.poll(0)
        producer.flush(_FLUSH_SECONDS)

    def cancel(self) -> None:
        self._cancelled.set()

    def check(self) -> None:
        """Raises Unavailable if an event did not get through."""
        if self._failed is not None:
            raise Unavailable(f"the demo's events do not reach the broker: {self._failed}")

    def _wait_until(self, moment: float, producer: Producer) -> None:
        while (left := moment - time.time()) > 0 and not self._cancelled.is_set():
            producer.poll(0)
            time.sleep(min(left, _LONGEST_NAP_S))
        self.latest_ms = max(self.latest_ms, -left * 1000)

    def _delivered(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self._failed = error.str()


def _watched(events: Sequence[Recorded]) -> dict[int, str]:
    return {
        index: str(orjson.loads(record.value)["messageId"])
        for index, record in enumerate(events)
        if any(name in record.value for name in _WATCHED)
    }

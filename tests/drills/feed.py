"""Feeds the traffic to the clickstream at an even pace: an hour of the shop's time takes as long, whatever happens to the services."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, Message, Producer

from cartstream.events.times import EventTime
from tests.drills.traffic import Click

_FLUSH_S = 120.0
_LONGEST_NAP_S = 0.02


class Feed(threading.Thread):
    """Sends `clicks` within `seconds`, then ends. `ends` has the offset behind the last acknowledged record of each partition.

    It may be held at a moment of event time, and let go on, or be made to linger. `wait_…` are for the drill's thread.
    """

    def __init__(self, brokers: str, topic: str, clicks: Sequence[Click], seconds: float) -> None:
        super().__init__(name="feed", daemon=True)
        self._clicks, self._topic, self._brokers = clicks, topic, brokers
        self._per_ms = seconds / max(1, clicks[-1].at - clicks[0].at)
        self._producer: Producer | None = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.max.bytes": 12_000_000,
                "message.timeout.ms": int(_FLUSH_S * 1000),
                "reconnect.backoff.max.ms": 500,
                # A broker that has just come back may not know the topic yet.
                "topic.metadata.propagation.max.ms": int(_FLUSH_S * 1000),
                "log_level": 0,
            }
        )
        self._hold_at: EventTime | None = None
        self._changed = threading.Condition()
        self._slower, self._bound = 1.0, 1.0
        self._failed: str | None = None
        self.sent = 0
        self.at = clicks[0].at
        """The event time of the last record sent."""
        self.held = False
        self.ends: dict[int, int] = {}
        self._acknowledged = 0

    def hold(self, at: EventTime) -> None:
        """Send nothing later than `at` until `release`."""
        with self._changed:
            self._hold_at = at

    def release(self, until: EventTime | None = None) -> None:
        """Go on, to `until` or to the end."""
        with self._changed:
            self._hold_at, self.held = until, False
            self._changed.notify_all()

    def linger(self, slower: float, bound: float = 0.8) -> None:
        """So many times slower from now on, and ever slower towards this share of the traffic, so that there is always some left."""
        self._slower, self._bound = slower, bound

    def hurry(self) -> None:
        """At the first pace again."""
        self._slower, self._bound = 1.0, 1.0

    def wait_held(self, seconds: float = 120.0) -> None:
        """Until everything before the hold has been acknowledged."""
        end = time.monotonic() + seconds
        while not self.held:
            assert time.monotonic() < end, f"the feed has sent {self.sent} of {len(self._clicks)} records and does not get on"
            assert self.is_alive(), "the feed ended before its hold"
            time.sleep(_LONGEST_NAP_S)

    def wait_share(self, share: float, seconds: float = 600.0) -> None:
        """Until this share of the traffic has been sent."""
        end = time.monotonic() + seconds
        while self.sent < share * len(self._clicks):
            assert time.monotonic() < end, f"the feed has sent {self.sent} of {len(self._clicks)} records and does not get on"
            time.sleep(_LONGEST_NAP_S)

    def wait_at(self, at: EventTime, seconds: float = 600.0) -> None:
        """Until the traffic has come to this event time, or to its end."""
        end = time.monotonic() + seconds
        while self.at < at and self.is_alive():
            assert time.monotonic() < end, f"the feed has sent {self.sent} of {len(self._clicks)} records and does not get on"
            time.sleep(_LONGEST_NAP_S)

    @property
    def twice(self) -> int:
        """How many records of the clickstream are there more often than they were given: by this client or the broker, not by cartstream.
        With what others have written."""
        return sum(self.ends.values()) - self._acknowledged

    @property
    def share(self) -> float:
        return self.sent / len(self._clicks)

    @property
    def now(self) -> EventTime:
        """The event time that it has come to."""
        return self._clicks[min(self.sent, len(self._clicks) - 1)].at

    def run(self) -> None:
        producer, self._producer = self._producer, None  # taken along, so that it ends with the feed
        assert producer is not None
        before, moment = self._clicks[0].at, time.monotonic()
        for click in self._clicks:
            moment += self._wait_while_held(click.at, producer)
            moment += (click.at - before) * self._per_ms * self._stretch()
            before = click.at
            while (left := moment - time.monotonic()) > 0:
                producer.poll(0)
                time.sleep(min(left, _LONGEST_NAP_S))
            self._produce(producer, click)
            self.sent, self.at = self.sent + 1, click.at
            producer.poll(0)
        self._flush(producer)

    def add(self, clicks: Sequence[Click]) -> None:
        """Records beside the traffic, at once; returns when they are acknowledged. From the drill's thread."""
        producer = Producer({"bootstrap.servers": self._brokers, "message.max.bytes": 12_000_000, "linger.ms": 2, "log_level": 0})
        for click in clicks:
            self._produce(producer, click)
        self._flush(producer)

    def _produce(self, producer: Producer, click: Click) -> None:
        headers: list[tuple[str, str | bytes | None]] = [*click.headers]
        producer.produce(self._topic, click.value, click.key, click.partition, headers=headers or None, on_delivery=self._delivered)

    def check(self) -> None:
        """Raises AssertionError if a record did not get through."""
        assert self._failed is None, f"the feed's records do not reach the broker: {self._failed}"

    def _stretch(self) -> float:
        left = 1.0 if self._slower == 1.0 else max(0.01, 1.0 - self.share / self._bound)
        return self._slower / left

    def _wait_while_held(self, at: EventTime, producer: Producer) -> float:
        """Gives the seconds that it took."""
        if self._hold_at is None or at <= self._hold_at:
            return 0.0
        began = time.monotonic()
        self._flush(producer)
        with self._changed:
            while self._hold_at is not None and at > self._hold_at:
                self.held = True
                self._changed.wait(1.0)
        return time.monotonic() - began

    def _flush(self, producer: Producer) -> None:
        left = producer.flush(_FLUSH_S)
        if left:
            self._failed = f"{left} records unacknowledged after {_FLUSH_S:.0f} s"

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = error.str()
        else:
            self._acknowledged += 1
            number = message.partition() or 0
            self.ends[number] = max(self.ends.get(number, 0), (message.offset() or 0) + 1)

"""Reads every topic as it grows, committed records only, and notices when a partition falls silent."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.records import Watermark

CHAIN = (topics.IDENTIFIED, topics.ACTIVITY, topics.SIGNALS)
TOPICS = (*CHAIN, topics.DECISIONS, *map(topics.commands, topics.CHANNELS), topics.DELIVERIES)
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """A committed record. `timestamp` is when it was produced (ms)."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class Watch(threading.Thread):
    """Reads from the beginning until `close`; what it holds is complete up to `ends`. Survives brokers that come and go."""

    def __init__(self, brokers: str, prefix: str, partitions: int) -> None:
        super().__init__(name="watch", daemon=True)
        self._prefix = prefix
        wanted = {prefix + name: partitions for name in TOPICS}
        wanted |= {topics.dead_letters(prefix + name): 1 for name in topics.ALL}
        self._places = [TopicPartition(name, number, OFFSET_BEGINNING) for name, count in wanted.items() for number in range(count)]
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": f"{prefix}drill.watch",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "fetch.error.backoff.ms": 50,
                "fetch.message.max.bytes": 13_000_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._marks = avro.codec().header_of(Watermark)
        self.records: dict[str, list[Seen]] = defaultdict(list)
        """By topic, without the prefix; watermarks left out."""
        self.ends: dict[Place, int] = {}
        """The offset behind the last record of each partition that has any."""
        self.told: dict[str, dict[str, int]] = defaultdict(dict)
        """By topic, the watermark of each source."""
        self._ended: dict[Place, int] = {}
        self._heard: dict[Place, float] = {}
        self._since: float | None = None
        self.longest_silence_s = 0.0

    def run(self) -> None:
        self._consumer.assign(self._places)
        while not self._closing.is_set():
            messages = self._consumer.consume(1_000, 0.05)
            now = time.monotonic()
            with self._lock:
                for message in messages:
                    self._take(message, now)
        self._consumer.close()

    def close(self) -> None:
        self._closing.set()
        self.join()

    def listen(self) -> None:
        """From now on silence on a partition of the chain counts."""
        with self._lock:
            self._since = now = time.monotonic()
            self._heard = {(name, number): now for name in CHAIN for number in self._numbers(name)}

    def relax(self) -> None:
        """Silence no longer counts."""
        with self._lock:
            now = time.monotonic()
            for heard in self._heard.values():
                self.longest_silence_s = max(self.longest_silence_s, now - heard)
            self._since = None

    @property
    def places(self) -> list[TopicPartition]:
        """What it reads, by their full names."""
        return [TopicPartition(place.topic, place.partition) for place in self._places]

    def has_read(self, ends: Mapping[Place, int]) -> bool:
        """Whether it has come to these ends, transaction markers included."""
        return all(self._ended.get(place, 0) >= end for place, end in ends.items())

    def count(self, topic: str) -> int:
        return len(self.records[topic])

    def last_told(self, topic: str, service: str) -> Iterable[int]:
        """The watermarks of a service's partitions, as told on a topic."""
        with self._lock:
            return [at for source, at in self.told[topic].items() if source.startswith(service + ":")]

    def _take(self, message: object, now: float) -> None:
        name, number = message.topic().removeprefix(self._prefix), message.partition()  # type: ignore[attr-defined]
        error = message.error()  # type: ignore[attr-defined]
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._ended[name, number] = message.offset()  # type: ignore[attr-defined]
            return
        self._hear((name, number), now)
        offset, value = message.offset(), message.value() or b""  # type: ignore[attr-defined]
        self.ends[name, number] = offset + 1
        if value[:5] == self._marks and self._is_told(name, value):
            return
        headers = [(header, text or b"") for header, text in message.headers() or []]  # type: ignore[attr-defined]
        key, timestamp = message.key(), message.timestamp()[1]  # type: ignore[attr-defined]
        self.records[name].append(Seen(number, offset, timestamp, key, value, headers))

    def _is_told(self, name: str, value: bytes) -> bool:
        """Whether it is a watermark in good order. One that is broken is a record like any other."""
        try:
            mark = avro.codec().decode(value)
        except Refused:
            return False
        told = self.told[name]
        told[mark.source] = max(mark.at, told.get(mark.source, mark.at))
        return True

    def _hear(self, place: Place, now: float) -> None:
        if self._since is not None and place in self._heard:
            self.longest_silence_s = max(self.longest_silence_s, now - self._heard[place])
            self._heard[place] = now

    def _numbers(self, name: str) -> list[int]:
        return [place.partition for place in self._places if place.topic == self._prefix + name]

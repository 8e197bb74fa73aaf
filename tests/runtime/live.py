"""The live loop of a toy stage in a thread, with real Kafka and Redis around it, and what a test asks of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from cartstream.events import topics
from cartstream.runtime.clock import SystemClock
from cartstream.runtime.health import Health
from cartstream.runtime.loop import StageLoop
from cartstream.runtime.metrics import StageMetrics, new_registry
from cartstream.runtime.progress import Progress
from cartstream.runtime.redis_store import RedisStore, connect
from cartstream.runtime.settings import StageSettings, load
from cartstream.runtime.stage import Stage
from cartstream.runtime.store import StateStore
from tests.runtime.toy import Act, FirstToyStage
from tests.support import RealKafka

T = TypeVar("T")
WAIT_S = 30.0
TTL_S = 3_600
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)


def until(condition: Callable[[], T], what: str, seconds: float = WAIT_S) -> T:
    """The first true value of `condition`; AssertionError after so many seconds."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {seconds:.0f} s"
        pause.wait(0.02)
    return found


class Place:
    """A stage's topics (a toy's, if no other is named) under a prefix of its own."""

    def __init__(self, kafka: RealKafka, redis_url: str, prefix: str, partitions: int = 1, stage: str = "toy") -> None:
        self.kafka, self.redis_url, self.prefix, self.partitions, self.stage = kafka, redis_url, prefix, partitions, stage
        self.source, self.sink = prefix + topics.CLICKSTREAM, prefix + topics.IDENTIFIED
        kafka.create_topics({self.source: partitions, self.sink: partitions, topics.dead_letters(self.source): 1})

    def settings(self, **changes: Any) -> StageSettings:
        usual: dict[str, Any] = {"poll_ms": 5, "announce_ms": 60_000, "idle_ms": 60_000, "session_timeout_ms": 6_000}
        return load(
            StageSettings,
            brokers=self.kafka.address,
            redis_url=self.redis_url,
            prefix=self.prefix,
            partitions=self.partitions,
            **{**usual, **changes},
        )

    def put(self, *acts: Act | bytes, partition: int = 0) -> None:
        """Append to the source, and return once acknowledged."""
        producer = Producer({"bootstrap.servers": self.kafka.address, "linger.ms": 1, "message.max.bytes": 3_000_000})
        refused: list[Any] = []
        for act in acts:
            value = act if isinstance(act, bytes) else msgspec.json.encode(act)
            producer.produce(self.source, value, b"key", partition, on_delivery=lambda error, _: refused.append(error) if error else None)
        assert producer.flush(WAIT_S) == 0
        assert refused == []

    def messages(self, topic: str | None = None, partitions: int | None = None) -> list[Message]:
        """All committed records of a topic (the sink) up to now, partition by partition; no more of one that grows meanwhile."""
        name = topic or self.sink
        config: dict[str, Any] = {
            "bootstrap.servers": self.kafka.address,
            "group.id": self.prefix + "reader",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
        count = partitions or (1 if name.endswith(".dlq") else self.partitions)
        found: list[Message] = []
        ended: set[int | None] = set()
        with closing(Consumer(config)) as consumer:
            places = [TopicPartition(name, number, 0) for number in range(count)]
            ends = until(lambda: _ends(consumer, places), f"a leader of each partition of {name}")
            consumer.assign(places)
            end = time.monotonic() + WAIT_S
            while len(ended) < count:
                assert time.monotonic() < end, f"{name} has no end"
                message = consumer.poll(0.2)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    found.append(message)
                    if (message.offset() or 0) + 1 >= ends[message.partition() or 0]:
                        ended.add(message.partition())
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise KafkaException(error)
        return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))

    def said(self) -> list[str]:
        """What the toy has published, watermarks left out."""
        return [(message.value() or b"").decode() for message in self.messages() if message.key() is not None]

    def committed(self, partition: int = 0) -> int:
        """The group's offset; below 0 while there is none, or no coordinator yet."""
        with closing(Consumer({"bootstrap.servers": self.kafka.address, "group.id": f"{self.prefix}cartstream.{self.stage}"})) as consumer:
            try:
                (place,) = consumer.committed([TopicPartition(self.source, partition)], timeout=WAIT_S)
            except KafkaException as error:
                if error.args[0].retriable() or error.args[0].code() == KafkaError.NOT_COORDINATOR:
                    return -1
                raise
        return place.offset

    def await_committed(self, offset: int, partition: int = 0) -> None:
        until(lambda: self.committed(partition) == offset, f"committed offset {offset} of partition {partition}")


def _ends(consumer: Consumer, places: list[TopicPartition]) -> list[int]:
    """Nothing while a partition of a topic just made has nobody who leads it."""
    try:
        return [consumer.get_watermark_offsets(place, timeout=WAIT_S)[1] for place in places]
    except KafkaException as error:
        if error.args[0].code() in _NO_LEADER_YET:
            return []
        raise


class Running:
    """A loop at work. `failed` is what it ended with, if it did."""

    def __init__(self, place: Place, store: StateStore, name: str, stage: Stage[Any], **changes: Any) -> None:
        self.registry = new_registry("toy", "test")
        progress = Progress(StageMetrics("toy", self.registry), SystemClock())
        progress.instance = name
        self.health, self.stop = Health(), threading.Event()
        grace, clock = changes.pop("idle_grace_ms", 0), changes.pop("clock", SystemClock())
        self.loop = StageLoop(stage, place.settings(**changes), store, clock, progress, self.health, self.stop, grace)
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"cartstream_{name}", {"service": "toy", **labels}) or 0.0

    def ready(self) -> None:
        until(lambda: self.health.readiness() is None, "readiness")

    def owns(self, count: int) -> None:
        until(lambda: self.metric("assigned_partitions") == count, f"{count} partitions")

    def end(self) -> None:
        self.stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the loop does not stop"

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:
            self.failed = error


@contextmanager
def running(
    place: Place, name: str = "one", *, stage: Stage[Any] | None = None, store: StateStore | None = None, **changes: Any
) -> Iterator[Running]:
    """A loop that has its partitions or waits for them; stopped in good order at the end, and it must have run without an error."""
    with connect(place.redis_url, timeout_s=2.0) as client:
        given = store or RedisStore(client, place.prefix, "toy", TTL_S)
        loop = Running(place, given, name, stage or FirstToyStage(), **changes)
        try:
            yield loop
        finally:
            loop.end()
        if loop.failed is not None:
            raise loop.failed


def work_off(place: Place, offset: int, **changes: Any) -> None:
    """Run a loop until everything up to `offset` is committed, and stop it."""
    with running(place, **changes):
        place.await_committed(offset)

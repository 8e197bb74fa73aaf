"""Several owners: members come and go, a zombie wakes up, and each record is still applied once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient
from redis import Redis

from cartstream.errors import Fenced
from cartstream.runtime.redis_store import RedisStore
from cartstream.runtime.store import Batch, Checkpoint, Opened
from tests.runtime.live import TTL_S, Place, running, until
from tests.runtime.toy import Act
from tests.support import RealKafka

PARTITIONS = 4


@pytest.fixture
def place(kafka: RealKafka, redis: Redis, redis_url: str, topic_prefix: str) -> Place:
    return Place(kafka, redis_url, topic_prefix, PARTITIONS)


def put_everywhere(place: Place, count: int = 5) -> None:
    for partition in range(PARTITIONS):
        place.put(*(Act(f"k{partition}") for _ in range(count)), partition=partition)


def counted_to(place: Place, count: int) -> bool:
    return all(place.committed(partition) == count for partition in range(PARTITIONS))


def test_members_that_come_and_go_apply_each_record_once_and_in_order(place: Place) -> None:
    put_everywhere(place)
    with running(place, "one") as one:
        one.owns(PARTITIONS)
        put_everywhere(place)
        with running(place, "two") as two:
            two.owns(2)
            one.owns(2)
            put_everywhere(place)
            until(lambda: counted_to(place, 15), "15 records a partition")
            assert two.metric("rebalances_total", event="assigned") == 2
        put_everywhere(place)
        one.owns(PARTITIONS)
        until(lambda: counted_to(place, 20), "20 records a partition")

    said = place.said()
    for partition in range(PARTITIONS):
        key = f"k{partition}:"
        assert [line for line in said if line.startswith(key)] == [f"{key}{n}" for n in range(1, 21)]


def test_members_that_swap_under_load_apply_each_record_once(place: Place) -> None:
    done, total = threading.Event(), [0]

    def load() -> None:
        while not done.is_set():
            put_everywhere(place, 10)
            total[0] += 10

    feeder = threading.Thread(target=load)
    with ExitStack() as stack:
        stack.callback(feeder.join)
        stack.callback(done.set)
        feeder.start()
        for name in ("a", "b"):
            with running(place, name), running(place, name + "2") as second:
                second.owns(2)
        done.set()
        feeder.join()
    with running(place, "last"):
        until(lambda: counted_to(place, total[0]), "everything committed")

    counts = Counter(place.said())
    assert set(counts.values()) == {1}
    assert len(counts) == PARTITIONS * total[0]


class Hanging:
    """The store of an owner that hangs before a write, as a stopped process would. Everything else passes through."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self.hangs = True
        self.reached, self.go_on = threading.Event(), threading.Event()

    def open(self, partition: int, generation: int) -> Opened:
        return self._store.open(partition, generation)

    def load(self, partition: int, keys: Sequence[str]) -> list[bytes | None]:
        return self._store.load(partition, keys)

    def load_all(self, keys: Mapping[int, Sequence[str]]) -> dict[int, list[bytes | None]]:
        return self._store.load_all(keys)

    def wakes(self, partition: int, after: int) -> tuple[dict[str, int], int | None]:
        return self._store.wakes(partition, after)

    def sequence(self, partition: int) -> tuple[int, int]:
        return self._store.sequence(partition)

    def sequences(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        return self._store.sequences(partitions)

    @property
    def doubt(self) -> int:
        return self._store.doubt

    def dispel(self, doubt: int) -> None:
        self._store.dispel(doubt)

    def commit(self, partition: int, batch: Batch) -> None:
        self._store.commit(partition, batch)

    def commit_all(self, batches: Mapping[int, Batch]) -> dict[int, Fenced]:
        if self.hangs:
            self.reached.set()
            assert self.go_on.wait(30)
        return self._store.commit_all(batches)


def test_partitions_that_a_member_keeps_go_on_when_a_rebalance_refused_their_transaction(
    kafka: RealKafka, redis: Redis, redis_url: str, topic_prefix: str
) -> None:
    """Another member joins between the Redis write and the transaction. What stays is not assigned anew: nobody would say that it does."""
    place = Place(kafka, redis_url, topic_prefix, PARTITIONS)
    hanging = Hanging(RedisStore(redis, place.prefix, "toy", TTL_S))
    hanging.hangs = False
    with running(place, "one", store=hanging) as one:
        put_everywhere(place)
        until(lambda: counted_to(place, 5), "5 records a partition")
        hanging.hangs = True
        put_everywhere(place)
        assert hanging.reached.wait(30)
        with running(place, "two") as two:
            until(lambda: members(place) == 2, "a group of two")
            hanging.go_on.set()
            two.owns(2)
            put_everywhere(place)
            until(lambda: counted_to(place, 15), "15 records a partition")
            assert one.metric("fenced_total") > 0, "no transaction was refused: the test tests nothing"
            assert one.metric("halted_partitions") == 0

    assert set(Counter(place.said()).values()) == {1}


def members(place: Place) -> int:
    """Of the group, once it has agreed on who they are."""
    group = f"{place.prefix}cartstream.toy"
    admin = AdminClient({"bootstrap.servers": place.kafka.address})
    found = admin.describe_consumer_groups([group])[group].result(10)
    return len(found.members) if found.state == ConsumerGroupState.STABLE else 0


def test_a_zombies_write_is_refused_and_publishes_nothing(kafka: RealKafka, redis: Redis, redis_url: str, topic_prefix: str) -> None:
    place = Place(kafka, redis_url, topic_prefix)
    store = RedisStore(redis, place.prefix, "toy", TTL_S)
    hanging = Hanging(RedisStore(redis, place.prefix, "toy", TTL_S))
    place.put(Act("a"))
    with running(place, "zombie", store=hanging) as zombie:
        assert hanging.reached.wait(30)
        store.open(0, 1_000)
        store.commit(0, Batch(Checkpoint(1, 1_000, 1), {"a": b"the owner's"}, [], []))
        hanging.go_on.set()
        until(lambda: zombie.metric("fenced_total") == 1, "the refusal")

    assert place.said() == []
    assert place.committed() < 0
    assert store.load(0, ["a"]) == [b"the owner's"]

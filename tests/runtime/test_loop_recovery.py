"""What a new owner finds, and does about it: Redis and Kafka level, Redis ahead, Kafka ahead, Redis empty, records gone."""

from __future__ import annotations

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from cartstream.errors import ConfigError
from cartstream.runtime.layout import Layout
from cartstream.runtime.partition import Partition
from cartstream.runtime.redis_store import RedisStore
from cartstream.runtime.stage import Record
from cartstream.runtime.state_command import Checkpoints
from cartstream.runtime.store import Batch
from tests.runtime.live import TTL_S, Place, running, until, work_off
from tests.runtime.toy import Act, FirstToyStage
from tests.support import RealKafka


@pytest.fixture
def place(kafka: RealKafka, redis: Redis, redis_url: str, topic_prefix: str) -> Place:
    return Place(kafka, redis_url, topic_prefix)


def acts(place: Place, *keys: str, at: int = 1_000) -> None:
    place.put(*(Act(key, at=at) for key in keys))


def die_before_the_transaction(place: Place, redis: Redis) -> Batch:
    """Do what an owner does up to and including its Redis write, and no more."""
    store = RedisStore(redis, place.prefix, "toy", TTL_S)
    generation = max(0, store.sequence(0)[1])
    opened = store.open(0, generation)
    partition = Partition(FirstToyStage(), 0, store, opened, Layout.of(1, 1), generation)
    done = opened.checkpoint.next_offset if opened.checkpoint else 0
    messages = [message for message in place.messages(place.source) if (message.offset() or 0) >= done]
    batch = partition.process(
        [Record("clickstream", 0, message.offset() or 0, message.key(), message.value() or b"") for message in messages], announce=False
    )
    store.commit(0, batch)
    return batch


def snapshot(redis: Redis) -> dict[bytes, bytes]:
    return {bytes(name): bytes(redis.dump(name) or b"") for name in redis.scan_iter()}


def restore(redis: Redis, kept: dict[bytes, bytes]) -> None:
    redis.flushdb()
    for name, dumped in kept.items():
        redis.restore(name, TTL_S * 1000, dumped)


def do_five_and_lose_two(place: Place, redis: Redis) -> None:
    """While a loop is running: it has done all five, Redis knows of three."""
    acts(place, "a", "b", "a")
    place.await_committed(3)
    older = snapshot(redis)
    acts(place, "b", "a")
    place.await_committed(5)
    restore(redis, older)


def test_a_stop_in_good_order_leaves_both_level(place: Place) -> None:
    acts(place, "a", "b", "a")
    work_off(place, 3)
    acts(place, "a", "b")
    with running(place) as loop:
        place.await_committed(5)
        assert loop.metric("recoveries_total", found="level") == 1

    assert place.said() == ["a:1", "b:1", "a:2", "a:3", "b:2"]


def test_a_crash_between_redis_and_kafka_publishes_the_outbox_once(place: Place, redis: Redis) -> None:
    acts(place, "a", "b", "a")
    die_before_the_transaction(place, redis)
    assert place.said() == []

    with running(place) as loop:
        place.await_committed(3)
        assert loop.metric("recoveries_total", found="outbox_published") == 1
        acts(place, "a")
        place.await_committed(4)
    with running(place) as loop:
        loop.ready()
        assert loop.metric("recoveries_total", found="level") == 1

    assert place.said() == ["a:1", "b:1", "a:2", "a:3"]


def test_what_was_only_passed_on_is_read_again_for_the_outbox(place: Place, redis: Redis) -> None:
    passed = [Act("a", at=1_000, verbatim=True), Act("b", at=1_000, verbatim=True)]
    place.put(passed[0], Act("a", at=1_000), passed[1])
    batch = die_before_the_transaction(place, redis)
    assert [wire.origin for wire in batch.outbox] == [0, -1, 2]
    acts(place, "b")
    work_off(place, 4)

    assert place.said() == [msgspec.json.encode(passed[0]).decode(), "a:1", msgspec.json.encode(passed[1]).decode(), "b:1"]


def test_an_outbox_whose_records_are_out_of_retention_halts_the_partition(place: Place, redis: Redis) -> None:
    place.put(Act("a", at=1_000, verbatim=True), Act("a", at=1_000))
    die_before_the_transaction(place, redis)
    admin = AdminClient({"bootstrap.servers": place.kafka.address})
    for future in admin.delete_records([TopicPartition(place.source, 0, 1)]).values():
        future.result(30)

    with running(place) as loop:
        until(lambda: loop.metric("halted_partitions") == 1, "the halt")
    assert place.said() == []


def test_a_crash_in_the_middle_of_work_publishes_the_last_outbox_once(place: Place, redis: Redis) -> None:
    acts(place, "a", "b")
    work_off(place, 2)
    acts(place, "a", "b")
    die_before_the_transaction(place, redis)
    acts(place, "a")
    work_off(place, 5)

    assert place.said() == ["a:1", "b:1", "a:2", "b:2", "a:3"]


def test_an_outbox_that_was_published_before_the_crash_is_not_published_again(place: Place, redis: Redis) -> None:
    """The crash comes after the transaction: the outbox still lies in Redis."""
    acts(place, "a", "b")
    work_off(place, 2)
    outbox = redis.get(f"{place.prefix}{{toy:0}}:outbox")
    assert outbox is not None
    assert b"b:1" in bytes(outbox)  # type: ignore[arg-type]
    with running(place) as loop:
        loop.ready()

    assert place.said() == ["a:1", "b:1"]


def test_a_redis_that_lost_its_tail_has_the_work_done_again_and_nothing_published_twice(place: Place, redis: Redis) -> None:
    acts(place, "a", "b", "a")
    work_off(place, 3)
    older = snapshot(redis)
    acts(place, "b", "a")
    work_off(place, 5)
    restore(redis, older)

    with running(place) as loop:
        acts(place, "a")
        place.await_committed(6)
        assert loop.metric("recoveries_total", found="redis_behind") == 1

    assert place.said() == ["a:1", "b:1", "a:2", "b:2", "a:3", "a:4"]


def test_a_redis_that_loses_its_tail_under_its_owner_is_noticed_at_the_next_write(place: Place, redis: Redis) -> None:
    with running(place) as loop:
        do_five_and_lose_two(place, redis)
        acts(place, "a", "b")
        place.await_committed(7)
        assert loop.metric("fenced_total") == loop.metric("recoveries_total", found="redis_behind") == 1

    assert place.said() == ["a:1", "b:1", "a:2", "b:2", "a:3", "a:4", "b:3"]


def test_a_step_that_fails_when_redis_has_lost_its_tail_skips_nothing(place: Place, redis: Redis) -> None:
    with running(place) as loop:
        do_five_and_lose_two(place, redis)
        place.put(Act("a", fail=True), Act("a", at=1_000))
        place.await_committed(7)
        assert loop.metric("recoveries_total", found="redis_behind") == 1

    assert place.said() == ["a:1", "b:1", "a:2", "b:2", "a:3", "a:4"]


def test_a_stop_while_lost_work_is_done_again_leaves_the_rest_of_it_unpublished(place: Place, redis: Redis) -> None:
    """Kafka's offset must not follow Redis back: whoever goes on would take for new what was published long ago."""
    acts(place, "a")
    work_off(place, 1)
    older = snapshot(redis)
    acts(place, *("a" for _ in range(1_500)))
    work_off(place, 1_501)
    restore(redis, older)
    store = RedisStore(redis, place.prefix, "toy", TTL_S)

    with running(place, batch_size=1):
        until(lambda: store.sequence(0)[0] > 20, "a part of the work")
    assert place.committed() == 1_501
    assert store.sequence(0)[0] < 1_000, "stopped in the middle"
    acts(place, "a")
    work_off(place, 1_502)

    assert place.said() == [f"a:{number}" for number in range(1, 1_503)]


def test_a_redis_that_lost_everything_halts_the_partition_and_says_what_to_do(place: Place, redis: Redis) -> None:
    acts(place, "a", "b", "a")
    work_off(place, 3)
    redis.flushdb()
    acts(place, "a")
    with running(place) as loop:
        why = until(lambda: (loop.health.readiness() or "") if loop.metric("halted_partitions") else "", "a halted partition")
        assert "Kafka says 3 records were done, Redis knows nothing of them" in why
        assert "Restore Redis" in why
        assert f"{place.source}[0]" in why
        assert loop.health.liveness() is None

    assert place.said() == ["a:1", "b:1", "a:2"]
    assert place.committed() == 3


def test_a_halted_partition_does_not_hold_up_the_others(kafka: RealKafka, redis: Redis, redis_url: str, topic_prefix: str) -> None:
    place = Place(kafka, redis_url, topic_prefix, partitions=2)
    place.put(Act("a"), partition=0)
    place.put(Act("b"), partition=1)
    with running(place):
        place.await_committed(1, 0)
        place.await_committed(1, 1)
    redis.delete(f"{place.prefix}{{toy:0}}:meta")
    with running(place) as loop:
        place.put(Act("a"), partition=0)
        place.put(Act("b"), partition=1)
        place.await_committed(2, 1)
        assert loop.metric("halted_partitions") == 1

    assert place.committed(0) == 1
    assert sorted(place.said()) == ["a:1", "b:1", "b:2"]


def lose_two_records(place: Place) -> None:
    """Two are done, two are out of retention, one is left."""
    acts(place, "a", "b")
    work_off(place, 2)
    acts(place, "a", "b", "a")
    admin = AdminClient({"bootstrap.servers": place.kafka.address})
    for future in admin.delete_records([TopicPartition(place.source, 0, 4)]).values():
        future.result()


def test_an_offset_out_of_retention_halts_the_partition_and_skips_nothing(place: Place) -> None:
    lose_two_records(place)
    with running(place) as loop:
        why = until(lambda: (loop.health.readiness() or "") if loop.metric("halted_partitions") else "", "a halted partition")
        assert f"{place.source}[0]: the next offset is out of retention. Nothing is skipped" in why
        assert "`cartstream state skip toy 0`" in why

    assert place.said() == ["a:1", "b:1"]
    assert place.committed() == 2


def test_a_partition_whose_loss_is_accepted_goes_on_with_its_state(place: Place, redis: Redis) -> None:
    lose_two_records(place)
    assert Checkpoints(redis, place.settings(), "toy").skip_to(0, 4, 2) == 2
    work_off(place, 5)

    assert place.said() == ["a:1", "b:1", "a:2"]


@pytest.mark.parametrize(("offset", "committed"), [(4, 1), (4, 3), (2, 2), (1, 2)])
def test_nothing_is_skipped_backwards_or_past_work_that_is_not_published(place: Place, redis: Redis, offset: int, committed: int) -> None:
    acts(place, "a", "b")
    work_off(place, 2)
    with pytest.raises(ConfigError, match="Redis has 2, Kafka"):
        Checkpoints(redis, place.settings(), "toy").skip_to(0, offset, committed)

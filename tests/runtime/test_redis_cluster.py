"""The client of a cluster: one connection a transaction, nothing repeated that may have happened, and servers that fail over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import ClusterCrossSlotError, WatchError

from cartstream.errors import ConfigError
from cartstream.runtime.redis_cluster import ClusterRedis
from cartstream.runtime.redis_store import connect
from tests.runtime.live import Place, running, until
from tests.runtime.toy import Act
from tests.support import Missing, RealKafka, RealRedisCluster


@pytest.fixture
def client(cluster_url: str) -> Iterator[redis.Redis]:
    with connect(cluster_url) as found:
        yield found


@pytest.fixture
def cluster() -> Iterator[RealRedisCluster]:
    """One of this test's own, with replicas: what it kills, no other test may stand on."""
    try:
        with RealRedisCluster() as own:
            yield own
    except Missing as missing:
        pytest.skip(str(missing))


def test_keys_of_every_slot_are_found_and_each_server_has_some(client: redis.Redis, topic_prefix: str) -> None:
    keys = [f"{topic_prefix}{{toy:{number}}}:meta" for number in range(30)]
    for key in keys:
        client.set(key, key)

    assert isinstance(client, ClusterRedis)
    assert [client.get(key) for key in keys] == [key.encode() for key in keys]
    assert len({id(client.at(key)) for key in keys}) == 3
    assert client.ping()


def test_a_transaction_is_refused_when_another_wrote_what_it_watched(client: redis.Redis, topic_prefix: str) -> None:
    key = topic_prefix + "{toy:0}:meta"
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(key)  # type: ignore[no-untyped-call]
        client.set(key, "other")
        pipe.multi()
        pipe.set(key, "mine")
        with pytest.raises(WatchError):
            pipe.execute()
    assert client.get(key) == b"other"


def test_a_transaction_whose_connection_breaks_is_not_tried_on_another(client: redis.Redis, topic_prefix: str) -> None:
    """On another connection nothing would be watched."""
    key = topic_prefix + "{toy:0}:meta"
    client.set(key, "before")
    assert isinstance(client, ClusterRedis)
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(key)  # type: ignore[no-untyped-call]
        assert pipe.get(key) == b"before"
        client.at(key).client_kill_filter(_type="normal", skipme=True)
        client.set(key, "other")
        pipe.multi()
        pipe.set(key, "mine")
        with pytest.raises(WatchError):
            pipe.execute()
    assert client.get(key) == b"other"


def test_a_transaction_stays_with_its_server_when_the_slots_are_read_anew(client: redis.Redis, topic_prefix: str) -> None:
    key = topic_prefix + "{toy:0}:meta"
    assert isinstance(client, ClusterRedis)
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(key)  # type: ignore[no-untyped-call]
        client.forget()
        client.set(key, "other")
        pipe.multi()
        pipe.set(key, "mine")
        with pytest.raises(WatchError):
            pipe.execute()


def test_two_slots_in_one_command_are_refused_by_the_server(client: redis.Redis, topic_prefix: str) -> None:
    with pytest.raises(ClusterCrossSlotError):
        client.mget([topic_prefix + "{toy:0}:a", topic_prefix + "{toy:1}:a"])


def test_a_cluster_that_does_not_answer_is_an_error_like_any_other() -> None:
    with connect("redis+cluster://127.0.0.1:1") as client, pytest.raises(redis.ConnectionError, match="no server of the cluster"):
        client.get("a")


def test_a_url_without_servers_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"CARTSTREAM_REDIS_URL: .*redis\+cluster://host:port"):
        connect("redis+cluster://")


def test_a_fail_over_under_a_running_loop_loses_and_repeats_nothing(kafka: RealKafka, cluster: RealRedisCluster, topic_prefix: str) -> None:
    place = Place(kafka, cluster.url, topic_prefix)
    with running(place) as loop:
        place.put(Act("a"), Act("b"))
        place.await_committed(2)
        port = cluster.primary_of(f"{topic_prefix}{{toy:0}}:meta")
        cluster.kill(port)
        place.put(Act("a"), Act("b"))
        place.await_committed(4)
        loop.ready()
        assert loop.metric("waits_total") > 0, "the fail-over was noticed"

    assert place.said() == ["a:1", "b:1", "a:2", "b:2"]


def test_a_fail_over_that_loses_the_tail_of_a_running_owner_heals_at_its_next_write(
    kafka: RealKafka, cluster: RealRedisCluster, topic_prefix: str
) -> None:
    """The replica that takes over has not heard of what its primary acknowledged last: the owner must not write on top of that."""
    place = Place(kafka, cluster.url, topic_prefix)

    def work() -> None:
        place.put(Act("a"), Act("b"))
        place.await_committed(4)

    with running(place) as loop:
        place.put(Act("a"), Act("b"))
        place.await_committed(2)
        cluster.lose_tail(cluster.primary_of(f"{topic_prefix}{{toy:0}}:meta"), work)
        place.put(Act("a"), Act("b"))
        place.await_committed(6)
        until(lambda: loop.metric("recoveries_total", found="redis_behind") == 1, "the lost tail to be noticed")

    assert place.said() == ["a:1", "b:1", "a:2", "b:2", "a:3", "b:3"]

"""The disturbed network itself: what a proxy is told to do, it does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

from cartstream.embedded.child import free_port
from cartstream.embedded.redis import EmbeddedRedis
from tests.support import Missing, RealKafka
from tests.support.kafka.real import ADDRESS_VARIABLE
from tests.support.records import produce, read
from tests.support.toxiproxy import Proxy, Toxiproxy


@pytest.fixture(scope="module")
def network() -> Iterator[Toxiproxy]:
    try:
        with Toxiproxy() as found:
            yield found
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def proxy(network: Toxiproxy) -> Iterator[Proxy]:
    with EmbeddedRedis() as server:
        yield network.between("redis", server.port)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Redis]:
    with Redis(port=proxy.port, socket_timeout=0.3, retry=Retry(NoBackoff(), 0)) as found:
        assert found.set("a", 1)
        yield found
        proxy.heal()
        assert found.get("a") is not None


def test_a_cut_ends_what_is_open_and_refuses_the_new(proxy: Proxy, client: Redis) -> None:
    proxy.cut()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            client.get("a")


def test_what_is_dropped_on_its_way_to_the_server_did_not_happen(proxy: Proxy, client: Redis) -> None:
    proxy.drop("upstream")
    with pytest.raises(TimeoutError):
        client.set("a", "lost")
    proxy.heal()
    assert client.get("a") == b"1"


def test_what_is_dropped_on_its_way_back_did_happen(proxy: Proxy, client: Redis) -> None:
    proxy.drop("downstream")
    with pytest.raises(TimeoutError):
        client.set("a", "kept")
    proxy.heal()
    assert client.get("a") == b"kept"


def test_a_reset_ends_connections(proxy: Proxy, client: Redis) -> None:
    proxy.reset("downstream")
    with pytest.raises(ConnectionError):
        client.get("a")


def test_a_large_answer_breaks_off_in_its_middle(proxy: Proxy, client: Redis) -> None:
    client.set("large", b"x" * 100_000)
    client.connection_pool.disconnect()
    proxy.cut_after("downstream", 50_000)
    with pytest.raises(ConnectionError):
        client.get("large")


def test_clients_of_a_broker_stay_with_the_proxy_that_they_came_by(network: Toxiproxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    port = free_port()
    try:
        with RealKafka(advertised=[port]) as kafka:
            proxy = network.between("kafka", kafka.listening[0], port)
            kafka.create_topics({"clicks": 1})
            produce(proxy.address, "clicks", [b"through"])
            assert read(kafka.address, "clicks", 1, group="direct") == [b"through"]
            proxy.cut()
            produce(kafka.address, "clicks", [b"direct"])
            proxy.heal()
            assert read(proxy.address, "clicks", 2, group="proxied") == [b"through", b"direct"]
    except Missing as missing:
        pytest.skip(str(missing))

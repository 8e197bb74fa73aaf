"""The servers that tests ask for by fixture; each is started once a session, when the first test asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis

from tests.support import Missing, RealKafka, RealRedis, RealRedisCluster

Server = TypeVar("Server")
# Machines that test are busy: how long an example takes says nothing of it. Hypothesis's own profile for CI has the same two.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def kafka() -> Iterator[RealKafka]:
    """A real Kafka, shared by all tests: begin the names of topics, groups and transactions with `topic_prefix`."""
    with ExitStack() as stack:
        yield _entered(stack, RealKafka())


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a real Redis, shared by all tests. `redis` empties it for one."""
    with ExitStack() as stack:
        yield _entered(stack, RealRedis()).url


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """The URL of a real Redis Cluster of three servers, shared by all tests: begin keys with `topic_prefix`."""
    with ExitStack() as stack:
        yield _entered(stack, RealRedisCluster(replicas=False)).url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of an empty Redis."""
    with Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def topic_prefix() -> str:
    """A start for names that no other test has used."""
    return f"test-{uuid4().hex[:12]}."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the servers they ask for, so that `-m "not kafka"` is the quick half."""
    for item in items:
        asked = getattr(item, "fixturenames", ())
        if "kafka" in asked:
            item.add_marker("kafka")
        if "redis_url" in asked or "cluster_url" in asked:
            item.add_marker("redis")


def _entered(stack: ExitStack, server: AbstractContextManager[Server]) -> Server:
    try:
        return stack.enter_context(server)
    except Missing as missing:
        pytest.skip(str(missing))

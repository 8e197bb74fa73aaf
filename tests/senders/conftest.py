"""A stage for each test of a sender."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from cartstream.fakes.service import Fakes, serving
from cartstream.fakes.settings import FakesSettings
from cartstream.runtime.settings import load
from tests.senders.stage import Stage
from tests.support import RealKafka


@pytest.fixture
async def fakes() -> AsyncIterator[Fakes]:
    async with serving(load(FakesSettings)) as running:
        yield running


@pytest.fixture
def stage(kafka: RealKafka, redis_url: str, redis: SyncRedis, topic_prefix: str, fakes: Fakes) -> Stage:
    return Stage(kafka, redis_url, redis, topic_prefix, fakes)


@pytest.fixture
async def client(redis_url: str, redis: SyncRedis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as connected:
        yield connected

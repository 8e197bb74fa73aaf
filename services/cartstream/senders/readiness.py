"""Several reasons not to be ready, one voice; and patience with servers that do not answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from cartstream.errors import Unavailable
from cartstream.runtime.health import Health
from cartstream.runtime.log import logger
from cartstream.runtime.redis_errors import told

T = TypeVar("T")
_LONGEST_S = 10.0


class Readiness:
    """`wrong` and `right` say what is the matter with one thing; the process is ready when nothing is. Use from one thread."""

    def __init__(self, health: Health, *waiting_for: str) -> None:
        self._health = health
        self._reasons = dict.fromkeys(waiting_for, "not connected yet")
        self._tell()

    def wrong(self, thing: str, why: str) -> None:
        if self._reasons.get(thing) != why:
            logger().error("not ready", thing=thing, why=why)
        self._reasons[thing] = why
        self._tell()

    def right(self, thing: str) -> None:
        if self._reasons.pop(thing, None) is not None:
            logger().info("ready", thing=thing)
            self._tell()

    def is_wrong(self, thing: str) -> bool:
        return thing in self._reasons

    def _tell(self) -> None:
        if self._reasons:
            self._health.not_ready("; ".join(f"{thing}: {why}" for thing, why in self._reasons.items()))
        else:
            self._health.ready()


async def insist(thing: str, readiness: Readiness, call: Callable[[], Awaitable[T]]) -> T:
    """Call until it answers, with backoff; not ready meanwhile. Only for calls that may be repeated."""
    wait = 0.1
    while True:
        try:
            answer = await call()
        except (RedisError, OSError, Unavailable) as error:
            readiness.wrong(thing, told(error))
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, _LONGEST_S)
        else:
            readiness.right(thing)
            return answer

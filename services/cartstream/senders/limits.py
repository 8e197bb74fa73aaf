"""How fast a sender may go: a rate and a pause, shared by all processes in Redis, and the gate of this one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from cartstream.senders.coalesce import Coalescer

# Takes the whole cost at once and lets the bucket go into debt: the answer is how long to wait for it to be paid. So nobody polls,
# and who comes later waits longer.
_TAKE = """
local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local level, at = unpack(redis.call('HMGET', KEYS[1], 'level', 'at'))
level = math.min(burst, (tonumber(level) or burst) + (now - (tonumber(at) or now)) * rate / 1000)
level = level - cost
redis.call('HSET', KEYS[1], 'level', tostring(level), 'at', now)
redis.call('PEXPIRE', KEYS[1], 3600000)
return tostring(level)
"""


_PAUSE = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '', 'PX', ARGV[1]) end
"""


class Limiter:
    """A token bucket of `rate` units a second and one second's burst. Rate 0 is no limit.

    `pause_key` lives for as long as no process of the channel may call its provider.
    """

    def __init__(self, redis: Redis, key: str, rate: float) -> None:
        self._rate, self._key = rate, key
        self.pause_key = key + ":pause"
        self._script: Any = redis.register_script(_TAKE)
        self._pause: Any = redis.register_script(_PAUSE)
        self._takes: Coalescer[int, float] = Coalescer(self._take_all)

    async def take(self, cost: int) -> float:
        """Take `cost` units; wait so many seconds before using them. A cost beyond the burst only waits longer."""
        return await self._takes(cost) if self._rate else 0.0

    async def pause(self, seconds: float) -> None:
        """For every process, as from its next look at a customer. A longer pause stays."""
        await self._pause(keys=[self.pause_key], args=[max(1, int(seconds * 1000))])

    async def _take_all(self, costs: Sequence[int]) -> Sequence[float]:
        total = sum(costs)
        level = float(await self._script(keys=[self._key], args=[self._rate, max(self._rate, 1.0), total])) + total
        waits = []
        for cost in costs:
            level -= cost
            waits.append(max(0.0, -level / self._rate))
        return waits


class Gate:
    """Open unless a provider said to wait, or that the sender itself is wrong: then one call at a time tries again."""

    def __init__(self) -> None:
        self._closed_until = 0.0
        self._halted = False
        self._trying = False

    @property
    def closed(self) -> bool:
        """A call that has passed before must not be made now."""
        return self._closed_until > time.monotonic()

    def wait_s(self) -> float:
        """0: go on. Else ask again after so long."""
        left = self._closed_until - time.monotonic()
        if left > 0:
            return left
        if self._halted:
            if self._trying:
                return 0.1
            self._trying = True
        return 0.0

    async def passed(self) -> None:
        while (wait := self.wait_s()) > 0:  # noqa: ASYNC110 (time passes, nobody tells)
            await asyncio.sleep(min(wait, 1.0))

    def close_for(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)
        self._trying = False

    def halt(self, retry_s: float) -> None:
        self._halted = True
        self.close_for(retry_s)

    def released(self) -> None:
        """Whoever passed is through, with or without a call: while halted, the next may try."""
        self._trying = False

    def answered(self) -> None:
        """A call was answered without a complaint about the sender."""
        self._halted = self._trying = False

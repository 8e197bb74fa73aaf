"""Whether what Redis says of the customers is as new as what has been decided about them.

A Redis that lost its tail says of a customer what was true before: no contact yet, an older cart, a purchase not made. The services that
own these entries do their work again within moments; until then no message may be judged by them. They are behind as long as Redis has
an earlier offset of theirs than Kafka. That is asked when a new connection finds another server than before, or one that was started
again or promoted since: only so does Redis go back in time.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from redis.asyncio import Redis

from cartstream.errors import Unavailable
from cartstream.events import topics
from cartstream.runtime.group_offsets import GroupOffsets
from cartstream.runtime.redis_lives import Lives
from cartstream.runtime.store import Checkpoint
from cartstream.senders.redis_cluster import ClusterRedis

OWNERS = {"identity": topics.CLICKSTREAM, "sessions": topics.IDENTIFIED}
"""Who owns what the senders look at, and what it reads."""
_ASK_S = 10.0
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


class Level:
    """Of one event loop. Owners that have committed nothing are level."""

    def __init__(self, redis: Redis, brokers: str, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix
        self._groups = {owner: GroupOffsets(brokers, f"{prefix}cartstream.{owner}", prefix + topic) for owner, topic in OWNERS.items()}
        self._lives = Lives()
        _on_connect(redis, self._connected)

    @property
    def in_doubt(self) -> bool:
        """There is a connection to Redis whose server has not been asked about."""
        return self._lives.doubt > 0

    async def confirm(self) -> None:
        """Return when nothing speaks against it. Raises Unavailable, and redis errors as they are."""
        while doubt := self._lives.doubt:
            committed = await asyncio.to_thread(self._committed)
            for (owner, partition), offset in committed.items():
                raw: Any = await self._redis.get(f"{self._prefix}{{{owner}:{partition}}}:meta")
                stored = _decode(raw).next_offset if raw else -1
                if stored < offset:
                    raise Unavailable(
                        f"Redis went back in time: {owner} has done {offset} of partition {partition}, Redis knows of {stored}"
                    )
            self._lives.dispel(doubt)

    async def _connected(self, connection: Any) -> None:
        await connection.on_connect()
        self._lives.meet(await _told(connection, "server"), await _told(connection, "replication"))

    def _committed(self) -> dict[tuple[str, int], int]:
        return {(owner, number): offset for owner, group in self._groups.items() for number, offset in group.ask(_ASK_S).items()}


async def _told(connection: Any, section: str) -> bytes:
    """A section of Redis's INFO. Raises RedisError."""
    await connection.send_command("INFO", section)
    answer: bytes = await connection.read_response(disable_decoding=True)
    return answer


def _on_connect(redis: Redis, connected: Any) -> None:
    """Before the first connection is made."""
    if isinstance(redis, ClusterRedis):
        redis.settings["redis_connect_func"] = connected
    else:
        redis.connection_pool.connection_kwargs["redis_connect_func"] = connected

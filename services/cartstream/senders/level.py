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
        self._doubts = 1
        self._settled = 0
        self._lives: set[tuple[str, str]] = set()
        _on_connect(redis, self._connected)

    @property
    def in_doubt(self) -> bool:
        """There is a connection to Redis whose server has not been asked about."""
        return self._settled < self._doubts

    async def confirm(self) -> None:
        """Return when nothing speaks against it. Raises Unavailable, and redis errors as they are."""
        while self.in_doubt:
            doubts = self._doubts
            committed = await asyncio.to_thread(self._committed)
            for (owner, partition), offset in committed.items():
                raw: Any = await self._redis.get(f"{self._prefix}{{{owner}:{partition}}}:meta")
                stored = _decode(raw).next_offset if raw else -1
                if stored < offset:
                    raise Unavailable(
                        f"Redis went back in time: {owner} has done {offset} of partition {partition}, Redis knows of {stored}"
                    )
            self._settled = doubts

    async def _connected(self, connection: Any) -> None:
        await connection.on_connect()
        life = await _told(connection, "server", "run_id"), await _told(connection, "replication", "master_replid")
        if life not in self._lives:
            self._lives.add(life)
            self._doubts += 1

    def _committed(self) -> dict[tuple[str, int], int]:
        return {(owner, number): offset for owner, group in self._groups.items() for number, offset in group.ask(_ASK_S).items()}


async def _told(connection: Any, section: str, name: str) -> str:
    """One line of Redis's INFO: `run_id` is new after each start, `master_replid` after each promotion. Raises RedisError."""
    await connection.send_command("INFO", section)
    answer: bytes = await connection.read_response(disable_decoding=True)
    lines = {key: value for key, _, value in (line.partition(":") for line in answer.decode().splitlines())}
    return lines[name]


def _on_connect(redis: Redis, connected: Any) -> None:
    """Before the first connection is made."""
    if isinstance(redis, ClusterRedis):
        redis.settings["redis_connect_func"] = connected
    else:
        redis.connection_pool.connection_kwargs["redis_connect_func"] = connected

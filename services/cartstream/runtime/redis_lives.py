"""Lives of Redis servers. A Redis that was started again, or promoted, may have gone back in time: it has lost what it was told last.

That can only be where a new connection finds another life than before. So nothing is asked while all is well.
"""

from __future__ import annotations

import threading
from typing import Any

import redis

from cartstream.runtime.redis_cluster import ClusterRedis


class Lives:
    """Those that a client has met. There is a doubt from the start, and from each meeting with another life, until somebody has looked
    what it has lost (`dispel`). Any thread."""

    def __init__(self) -> None:
        self._met: set[tuple[str, str]] = set()
        self._doubts, self._dispelled = 1, 0
        self._lock = threading.Lock()

    @property
    def doubt(self) -> int:
        """Which doubt there is; 0 for none."""
        return self._doubts if self._dispelled < self._doubts else 0

    def dispel(self, doubt: int) -> None:
        """This one, and those before it. One that came meanwhile stays."""
        with self._lock:
            self._dispelled = max(self._dispelled, doubt)

    def meet(self, server: bytes, replication: bytes) -> None:
        """What INFO says in these two sections: `run_id` is new after each start, `master_replid` after each promotion."""
        life = _line(server, "run_id"), _line(replication, "master_replid")
        with self._lock:
            if life not in self._met:
                self._met.add(life)
                self._doubts += 1


def watched(client: redis.Redis) -> Lives:
    """The lives that the client will meet. Before its first connection is made."""
    lives = Lives()

    def connected(connection: Any) -> None:
        connection.on_connect()
        lives.meet(*(_told(connection, section) for section in ("server", "replication")))

    settings = client.settings if isinstance(client, ClusterRedis) else client.connection_pool.connection_kwargs
    settings["redis_connect_func"] = connected
    return lives


def _told(connection: Any, section: str) -> bytes:
    connection.send_command("INFO", section)
    answer: bytes = connection.read_response(disable_decoding=True)
    return answer


def _line(info: bytes, name: str) -> str:
    lines = (line.partition(":") for line in info.decode().splitlines())
    return next(value for key, _, value in lines if key == name)

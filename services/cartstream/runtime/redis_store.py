"""The state store in Redis: all of a partition in one slot, written in one atomic compare-and-set.

| key (with `{service:partition}` as the hash tag) | value |
|---|---|
| `…:meta` | msgpack `Checkpoint`: sequence, owner's generation, next offset, watermarks |
| `…:s:<key>` | a state |
| `…:<name>` | a read model (`guard:<customer>`) |
| `…:timers` | sorted set: key by wake-up time |
| `…:outbox` | what the last batch publishes, until the next one |

WATCH + MULTI + MSET: a third of the time of a Lua script (measured; see `docs/performance.md`). MSET takes an expiry away, so
each write sets it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from cartstream.errors import ConfigError, Fenced, Unavailable
from cartstream.runtime.redis_cluster import ClusterRedis
from cartstream.runtime.redis_errors import told
from cartstream.runtime.slots import ClusterUrl
from cartstream.runtime.store import Batch, Checkpoint, Opened, Wire

R = TypeVar("R")

_encode_checkpoint = msgspec.msgpack.Encoder().encode
_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode
_encode_outbox = msgspec.msgpack.Encoder().encode
_decode_outbox = msgspec.msgpack.Decoder(list[Wire]).decode
_EXPIRE = "for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[1]) end"
TIMER_PAGE = 10_000


def connect(url: str, timeout_s: float = 10.0) -> redis.Redis:
    """A client that never repeats a command by itself: whether a lost write happened is for the caller to find out. Raises ConfigError."""
    settings: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": Retry(ExponentialBackoff(), 0)}
    try:
        return ClusterRedis(url, **settings) if ClusterUrl.names_cluster(url) else redis.Redis.from_url(url, **settings)
    except ValueError as error:
        raise ConfigError(f"CARTSTREAM_REDIS_URL: {error}") from error


class RedisStore:
    """`ttl_s` is how long an untouched state stays. One thread only."""

    def __init__(self, client: redis.Redis, prefix: str, service: str, ttl_s: int) -> None:
        self._redis = client
        self._prefix = prefix
        self._service = service
        self._ttl_s = ttl_s

    def open(self, partition: int, generation: int) -> Opened:
        tag = self._tag(partition)
        return self._call(lambda: self._open(tag, partition, generation))

    def load(self, partition: int, keys: Sequence[str]) -> list[bytes | None]:
        tag = self._tag(partition) + "s:"
        found: Any = self._call(lambda: self._redis.mget([tag + key for key in keys]))
        return list(found)

    def commit(self, partition: int, batch: Batch) -> None:
        self._call(lambda: self._commit(self._tag(partition), partition, batch))

    def sequence(self, partition: int) -> tuple[int, int]:
        raw: Any = self._call(lambda: self._redis.get(self._tag(partition) + "meta"))
        return _stand(raw)

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
                pipe.set(tag + "meta", _encode_checkpoint(checkpoint), ex=self._ttl_s)
                pipe.execute()
        outbox: Any = self._redis.get(tag + "outbox")
        return Opened(checkpoint, _decode_outbox(outbox) if outbox else [], self._timers(tag))

    def _timers(self, tag: str) -> dict[str, int]:
        wakes: dict[str, int] = {}
        while True:
            page: Any = self._redis.zrange(tag + "timers", len(wakes), len(wakes) + TIMER_PAGE - 1, withscores=True)
            wakes.update((key.decode(), int(at)) for key, at in page)
            if len(page) < TIMER_PAGE:
                return wakes

    def _commit(self, tag: str, partition: int, batch: Batch) -> None:
        ours = batch.checkpoint
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(tag + "meta")  # type: ignore[no-untyped-call]
            sequence, generation = _stand(pipe.get(tag + "meta"))
            if sequence != ours.sequence - 1 or generation > ours.generation:
                raise Fenced(
                    f"{self._service} partition {partition}: write {sequence} of generation {generation} is stored, "
                    f"ours would follow {ours.sequence - 1} of {ours.generation}"
                )
            pipe.multi()
            self._write(pipe, tag, batch)
            pipe.execute()

    def _write(self, pipe: Any, tag: str, batch: Batch) -> None:
        written = {tag + "meta": _encode_checkpoint(batch.checkpoint), tag + "outbox": _encode_outbox(batch.outbox)}
        written |= {tag + name: value for name, value in batch.read_models.items()}
        gone = []
        for key, state in batch.states.items():
            if state is None:
                gone.append(f"{tag}s:{key}")
            else:
                written[f"{tag}s:{key}"] = state
        pipe.execute_command("MSET", *_pairs(written))
        if gone:
            pipe.execute_command("UNLINK", *gone)
        due = {key: at for key, at in batch.wakes.items() if at is not None}
        if due:
            pipe.zadd(tag + "timers", due)
        if len(due) < len(batch.wakes):
            pipe.zrem(tag + "timers", *(key for key, at in batch.wakes.items() if at is None))
        # MSET takes every expiry away. One script gives them back for 3 µs a key less than a command each.
        pipe.execute_command("EVAL", _EXPIRE, len(written) + 1, *written, tag + "timers", self._ttl_s)

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


def _pairs(entries: dict[str, bytes]) -> list[str | bytes]:
    flat: list[str | bytes] = []
    for name, value in entries.items():
        flat.append(name)
        flat.append(value)
    return flat

"""States of a partition in hashes: one HSET a bucket writes hundreds, with nothing to renew and a hundred bytes less a state than keys.

A key of its own would need an expiry of its own, which every write takes away and a script has to give back: half of what Redis did
for the sessions service. So the expiry belongs to the hash. Time is cut into eras of `ttl_s`. A state is written to the hash of the
present era and taken out of the one before, where it is looked for too; a hash goes when its era and the next one are over. So what
is untouched for `ttl_s` stays, what is untouched for twice as long is gone, and nobody has to look for it.

A partition has `BUCKETS` hashes an era: none grows so large that moving it to another server of a cluster stops that server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

BUCKETS = 16


class StateHashes:
    """Of several partitions, told apart by `tag`. `ttl_s` is the least time that an untouched state stays; `now` is in real seconds.

    The era never goes back, whatever an owner's clock says: it is kept in the checkpoint.
    """

    def __init__(self, ttl_s: int, now: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._now = now
        self._eras: dict[str, int] = {}
        self._before: dict[str, set[int]] = {}

    def open(self, client: Any, tag: str, era: int) -> None:
        """`era` is the checkpoint's. Finds out which buckets the era before has. Raises RedisError."""
        self._eras[tag] = era = max(era, self._present())
        with client.pipeline(transaction=False) as pipe:
            for bucket in range(BUCKETS):
                pipe.execute_command("EXISTS", _name(tag, era - 1, bucket))
            self._before[tag] = {bucket for bucket, found in enumerate(pipe.execute()) if found}

    def read(self, client: Any, tag: str, keys: Sequence[str]) -> list[bytes | None]:
        """In the order of `keys`. Raises RedisError."""
        era, before = self._eras.get(tag, self._present()), self._before.get(tag, set(range(BUCKETS)))
        asked: list[list[str]] = []
        with client.pipeline(transaction=False) as pipe:
            for bucket, inside in _by_bucket(keys).items():
                for when in (era, era - 1) if bucket in before else (era,):
                    pipe.execute_command("HMGET", _name(tag, when, bucket), *inside)
                    asked.append(inside)
            answers = pipe.execute()
        found: dict[str, bytes] = {}
        for inside, values in zip(asked, answers, strict=True):
            for key, value in zip(inside, values, strict=True):
                if value is not None:
                    found.setdefault(key, value)
        return [found.get(key) for key in keys]

    def write(self, pipe: Any, tag: str, states: Mapping[str, bytes | None]) -> int:
        """Adds the commands to a transaction; None takes a state away. Gives the era, for the checkpoint."""
        era = self._enter(tag)
        for bucket, inside in _by_bucket(states).items():
            name = _name(tag, era, bucket)
            kept = [part for key in inside if (value := states[key]) is not None for part in (key, value)]
            if kept:
                pipe.execute_command("HSET", name, *kept)
                pipe.execute_command("EXPIREAT", name, self.expire_at(tag))
            if len(kept) < 2 * len(inside):
                pipe.execute_command("HDEL", name, *[key for key in inside if states[key] is None])
            if bucket in self._before[tag]:
                pipe.execute_command("HDEL", _name(tag, era - 1, bucket), *inside)
        return era

    def expire_at(self, tag: str) -> int:
        """When a hash of the present era goes, in real seconds."""
        return (self._eras.get(tag, self._present()) + 2) * self._ttl_s

    def _enter(self, tag: str) -> int:
        """The era to write in: all that was written in the last one may lie in the era before."""
        present, era = self._present(), self._eras.setdefault(tag, self._present())
        if present > era:
            self._before[tag] = set(range(BUCKETS)) if present == era + 1 else set()
            self._eras[tag] = era = present
        self._before.setdefault(tag, set())
        return era

    def _present(self) -> int:
        return int(self._now()) // self._ttl_s


def _name(tag: str, era: int, bucket: int) -> str:
    return f"{tag}s:{era}:{bucket}"


def _by_bucket(keys: Iterable[str]) -> dict[int, list[str]]:
    buckets: dict[int, list[str]] = {}
    for key in keys:
        bucket = crc32(key.encode()) % BUCKETS
        if bucket in buckets:
            buckets[bucket].append(key)
        else:
            buckets[bucket] = [key]
    return buckets

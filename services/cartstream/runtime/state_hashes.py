"""States of a partition in hashes: one HSET a bucket writes hundreds, with nothing to renew and a hundred bytes less a state than keys.

A key of its own would need an expiry of its own, which every write takes away and a script has to give back: half of what Redis did
for the sessions service. So the expiry belongs to the hash. Time is cut into eras of `ttl_s`. A state is written to the hash of the
present era and taken out of the one before, where it is looked for too; a hash goes when its era and the next one are over. So what
is untouched for `ttl_s` stays, what is untouched for twice as long is gone, and nobody has to look for it.

A partition has `BUCKETS` hashes an era: none grows so large that moving it to another server of a cluster stops that server.

| key | field | value |
|---|---|---|
| `…:h:<era>:<bucket>` | the state's key as in `packed_keys.py` | the state, without its own key where it begins with it |
| `…:s:<era>:<bucket>` | the state's key | the state; what releases before this one wrote, moved with its next write |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from cartstream.runtime.packed_keys import packed

BUCKETS = 16
_HASH, _FIRST_HASH = "h", "s"
_AS_IT_IS = 0xFF
_BEGINNING = 8
_MARK = b"\xc1"  # no msgpack begins so
_HEADS = [_MARK + bytes((at,)) for at in range(_BEGINNING + 1)]
"""Of a value whose key, so many bytes from its beginning, is left out."""
_WHOLE = _MARK + bytes((_AS_IT_IS,))

Older = dict[tuple[str, int], set[int]]


class StateHashes:
    """Of several partitions, told apart by `tag`. `ttl_s` is the least time that an untouched state stays; `now` is in real seconds.

    The era never goes back, whatever an owner's clock says: it is kept in the checkpoint.
    """

    def __init__(self, ttl_s: int, now: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._now = now
        self._eras: dict[str, int] = {}
        self._older: dict[str, Older] = {}
        """Hashes where a state may be that is not in the present era's: their buckets by kind and era."""

    def open(self, client: Any, tag: str, era: int) -> None:
        """`era` is the checkpoint's. Finds out which older hashes there are. Raises RedisError."""
        self._eras[tag] = era = max(era, self._present())
        older = _all_older(era)
        with client.pipeline(transaction=False) as pipe:
            for (kind, when), buckets in older.items():
                for bucket in sorted(buckets):
                    pipe.execute_command("EXISTS", _name(tag, kind, when, bucket))
            found = iter(pipe.execute())
        self._older[tag] = {place: {bucket for bucket in sorted(buckets) if next(found)} for place, buckets in older.items()}

    def read(self, client: Any, keys: Mapping[str, Sequence[str]]) -> list[list[bytes | None]]:
        """By tag, in the order of its keys: one round trip for all. Raises RedisError."""
        asked: list[tuple[str, list[str]]] = []
        with client.pipeline(transaction=False) as pipe:
            for tag, wanted in keys.items():
                era = self._eras.get(tag, self._present())
                older = self._older.get(tag, _all_older(era))
                for bucket, inside in _by_bucket(wanted).items():
                    for kind, when in [(_HASH, era), *(place for place, buckets in older.items() if bucket in buckets)]:
                        pipe.execute_command("HMGET", _name(tag, kind, when, bucket), *_fields(kind, inside))
                        asked.append((tag, inside))
            answers = pipe.execute()
        found: dict[str, dict[str, bytes]] = {tag: {} for tag in keys}
        for (tag, inside), values in zip(asked, answers, strict=True):
            mine = found[tag]
            for key, value in zip(inside, values, strict=True):
                if value is not None and key not in mine:
                    mine[key] = whole(key, value)
        return [list(map(found[tag].get, wanted)) for tag, wanted in keys.items()]

    def write(self, pipe: Any, tag: str, states: Mapping[str, bytes | None]) -> int:
        """Adds the commands to a transaction; None takes a state away. Gives the era, for the checkpoint."""
        era = self._enter(tag)
        for bucket, inside in _by_bucket(states).items():
            name = _name(tag, _HASH, era, bucket)
            kept = [part for key in inside if (value := states[key]) is not None for part in (packed(key), _without_key(key, value))]
            if kept:
                pipe.execute_command("HSET", name, *kept)
                pipe.execute_command("EXPIREAT", name, self.expire_at(tag))
            if len(kept) < 2 * len(inside):
                pipe.execute_command("HDEL", name, *[packed(key) for key in inside if states[key] is None])
            for (kind, when), buckets in self._older[tag].items():
                if bucket in buckets:
                    pipe.execute_command("HDEL", _name(tag, kind, when, bucket), *_fields(kind, inside))
        return era

    def expire_at(self, tag: str) -> int:
        """When a hash of the present era goes, in real seconds."""
        return (self._eras.get(tag, self._present()) + 2) * self._ttl_s

    def _enter(self, tag: str) -> int:
        """The era to write in: all that was written in the last one may lie in the era before."""
        present, era = self._present(), self._eras.setdefault(tag, self._present())
        older = self._older.setdefault(tag, {})
        if present > era:
            known = {(_HASH, era): set(range(BUCKETS)), **older}
            self._older[tag] = {(kind, when): buckets for (kind, when), buckets in known.items() if when >= present - 1}
            self._eras[tag] = era = present
        return era

    def _present(self) -> int:
        return int(self._now()) // self._ttl_s


def place(tag: str, era: int, key: str) -> tuple[str, bytes]:
    """The hash and the field where a state of this era is."""
    return _name(tag, _HASH, era, _bucket(key)), packed(key)


def _bucket(key: str) -> int:
    return crc32(key.encode()) % BUCKETS


def _all_older(era: int) -> Older:
    return {place: set(range(BUCKETS)) for place in ((_FIRST_HASH, era), (_HASH, era - 1), (_FIRST_HASH, era - 1))}


def _name(tag: str, kind: str, era: int, bucket: int) -> str:
    return f"{tag}{kind}:{era}:{bucket}"


def _fields(kind: str, keys: list[str]) -> Sequence[str | bytes]:
    return keys if kind == _FIRST_HASH else [*map(packed, keys)]


def _without_key(key: str, value: bytes) -> bytes:
    """Most states begin with the key, behind a few bytes that are kept."""
    head, found, rest = value.partition(key.encode())
    if found and len(head) <= _BEGINNING:
        return _HEADS[len(head)] + head + rest
    return _WHOLE + value if value[:1] == _MARK else value


def whole(key: str, value: bytes) -> bytes:
    """The state of this key, from its hash's value."""
    if value[:1] != _MARK:
        return value
    at = value[1]
    return value[2:] if at == _AS_IT_IS else value[2 : 2 + at] + key.encode() + value[2 + at :]


def _by_bucket(keys: Iterable[str]) -> dict[int, list[str]]:
    buckets: dict[int, list[str]] = {}
    for key in keys:
        bucket = crc32(key.encode()) % BUCKETS  # as `_bucket`, without a call for each
        if bucket in buckets:
            buckets[bucket].append(key)
        else:
            buckets[bucket] = [key]
    return buckets

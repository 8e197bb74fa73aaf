"""Where a key lives: the partition that Java's default partitioner, and librdkafka's `murmur2_random`, give it."""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """MurmurHash2, 32 bit, as in Kafka's `Utils.murmur2`."""
    length = len(key)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def partition_of(key: str | bytes, partitions: int) -> int:
    raw = key.encode() if isinstance(key, str) else key
    return (murmur2(raw) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=8)
def keys_of_all(partitions: int) -> tuple[str, ...]:
    """For each partition, in order, a short key that lies in it: who tells all of them something writes one record under each."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        key = f"all-{number}"
        found.setdefault(partition_of(key, partitions), key)
        number += 1
    return tuple(found[partition] for partition in range(partitions))

"""What Redis keeps of an active customer, over all services."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import orjson
from confluent_kafka import Producer
from redis import Redis

from cartstream.events.times import SECOND, iso
from cartstream.runtime.kafka import ensure_topics
from tests.bench.ground import PARTITIONS, Ground, Service, wait_until
from tests.bench.whole import STAGES, running, service_of

CUSTOMERS = int(os.environ.get("BENCH_MEMORY_CUSTOMERS", "50000"))
KNOWN_IN = 4
STEPS = 7
_RUNS = itertools.count(1)
START_AT = int(time.time() * 1000) - STEPS * 30 * SECOND


def memory(on: Ground) -> dict[str, Any]:
    """Each customer has one device, an open session, three product views and a cart of three; one in four is known by e-mail."""
    prefix = f"{next(_RUNS)}."  # short: by default there is none, and each key has it
    redis = Redis.from_url(on.redis_url)
    ensure_topics(on.brokers, prefix, PARTITIONS, 1, PARTITIONS)
    before, tables_before = _used(redis), _tables(redis)
    with running(on, prefix) as (processes, _):
        stages = {name: service_of(processes, name) for name in STAGES}
        producer = Producer({"bootstrap.servers": on.brokers, "partitioner": "murmur2_random", "linger.ms": 50})
        for step in range(STEPS):
            for device, event in _shoppers(step, CUSTOMERS):
                producer.produce(prefix + "clickstream", orjson.dumps(event), device)
                producer.poll(0)
            producer.flush()
            wait_until(partial(_all_done, stages, (step + 1) * CUSTOMERS))
    used, tables = _used(redis) - before, _tables(redis) - tables_before
    return {
        "name": "memory",
        "customers": CUSTOMERS,
        "redis_bytes_per_customer": round(used / CUSTOMERS),
        "with_tables_of_keys": round((used + tables) / CUSTOMERS),
        "by_key": _by_family(redis, prefix),
    }


def _all_done(stages: dict[str, Service], events: int) -> bool:
    """Also the watermark of the step is through: what is older is settled, as it would be at the pace of life."""
    return stages["sessions"].value("cartstream_records_processed_total", outcome="ok") >= events and all(
        stage.value("cartstream_consumer_lag_records") == 0 for stage in stages.values()
    )


def _shoppers(step: int, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(count):
        device = f"{number:08x}-0000-4000-8000-{number:012x}"
        at = START_AT + step * 30 * SECOND + number * 60 * SECOND // count
        event = {"messageId": str(uuid.UUID(int=number * 8 + step)), "anonymousId": device, "timestamp": iso(at)}
        product = {
            "product_id": f"sku-{(number + step % 3) % 5000}",
            "price": 19.99,
            "quantity": 1,
            "currency": "EUR",
            "name": "Some product",
        }
        if step == 0 and number % KNOWN_IN == 0:
            yield (
                device,
                event
                | {
                    "type": "identify",
                    "userId": f"user-{number}",
                    "traits": {"email": f"s{number}@example.test", "consent": {"email": True}},
                },
            )
        elif step == 0:
            yield device, event | {"type": "page"}
        else:
            yield device, event | {"type": "track", "event": "Product Viewed" if step < 4 else "Product Added", "properties": product}


def _used(redis: Redis) -> int:
    found: Any = redis.info("memory")
    return int(found["used_memory_dataset"])


def _tables(redis: Redis) -> int:
    """What Redis does not count as its data: the tables of keys and of their expiries. An entry of a hash is data."""
    stats: Any = redis.memory_stats()
    return sum(int(stats["db.0"][name]) for name in ("overhead.hashtable.main", "overhead.hashtable.expires")) if "db.0" in stats else 0


def _by_family(redis: Redis, prefix: str) -> dict[str, int]:
    """Bytes a customer by kind of key."""
    total: dict[str, int] = {}
    for name in redis.scan_iter(match=f"{prefix}*", count=5_000):
        service, _, rest = bytes(name).decode().removeprefix(prefix + "{").partition("}:")
        family = f"{service.partition(':')[0]} {rest.partition(':')[0]}"
        size: Any = redis.memory_usage(bytes(name), samples=200)
        total[family] = total.get(family, 0) + int(size)
    return {family: round(size / CUSTOMERS) for family, size in sorted(total.items(), key=lambda entry: -entry[1])}

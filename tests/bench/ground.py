"""What benchmarks stand on: servers as in production, a topic full of clicks, the floor, and a service measured from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from confluent_kafka import Consumer, Producer

from cartstream.embedded.redis import EmbeddedRedis, system_server
from cartstream.events import clicks
from cartstream.runtime.kafka import ensure_topics
from tests.bench.traffic import clicks as generate
from tests.bench.warm import warm_up
from tests.support.kafka import RealKafka

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
PARTITIONS = 4
START = 1_764_000_000_000
SECRETS = {"CARTSTREAM_HASH_KEY": "benchmark-only-" * 3, "CARTSTREAM_VAULT_KEYS": "k1=" + "A" * 43 + "="}


@dataclass(frozen=True)
class Ground:
    brokers: str
    redis_url: str
    broker_pid: int
    redis_pid: int

    def environment(self, prefix: str, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            **SECRETS,
            "CARTSTREAM_BROKERS": self.brokers,
            "CARTSTREAM_REDIS_URL": self.redis_url,
            "CARTSTREAM_PARTITIONS": str(PARTITIONS),
            "CARTSTREAM_PREFIX": prefix,
            "CARTSTREAM_PAST_LIMIT_DAYS": "36500",
            "CARTSTREAM_LOG_LEVEL": "warning",
            **more,
        }


@contextmanager
def ground() -> Iterator[Ground]:
    """A warm Kafka, and a Redis as in production, an installed one if there is: the wheel's has no jemalloc."""
    with RealKafka(long_lived=True) as kafka, EmbeddedRedis(server=system_server(), append_only=True, settings=redis_settings()) as redis:
        if kafka.pids:
            print(f"the broker is warm after {warm_up(kafka):.0f} s", file=sys.stderr)
        yield Ground(kafka.address, redis.url, kafka.pid, redis.pid)


def redis_settings() -> dict[str, str]:
    """What the compose file says of Redis, but for places, access and size."""
    words: list[str] = yaml.safe_load(COMPOSE.read_text())["services"]["redis"]["command"]
    said = {name.removeprefix("--"): value for name, value in zip(words[1::2], words[2::2], strict=True)}
    return {name: said[name] for name in ("appendfsync", "auto-aof-rewrite-min-size", "rdbcompression")}


def fill(
    on: Ground,
    prefix: str,
    count: int,
    devices: int,
    per_second: int = 500,
    products: int = 5_000,
    rate: float | None = None,
    whole_carts: bool = False,
) -> None:
    """Make the topics and put `count` clicks into the clickstream, `per_second` of event time; at most `rate` a real second."""
    ensure_topics(on.brokers, prefix, PARTITIONS, 1, PARTITIONS)
    producer = Producer(
        {
            "bootstrap.servers": on.brokers,
            "enable.idempotence": True,  # a first batch that is tried again must not come after the second
            "linger.ms": 50,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
        }
    )
    begun = time.perf_counter()
    clicks = generate(count, devices, START, per_second, products=products, whole_carts=whole_carts)
    for number, (device, event) in enumerate(clicks):
        if rate is not None and number % 500 == 0:
            time.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        producer.produce(prefix + "clickstream", event, device)
        if number % 1000 == 0:
            producer.poll(0 if len(producer) < 1_000_000 else 1)  # a full queue would be an error
    producer.flush()


def floor(on: Ground, topic: str, count: int) -> float:
    """Records per second of a bare loop: consume and typed decode, nothing kept, nothing written."""
    consumer = Consumer(
        {
            "bootstrap.servers": on.brokers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "queued.min.messages": 200_000,
            "queued.max.messages.kbytes": 262_144,
        }
    )
    consumer.subscribe([topic])
    read, started = 0, 0.0
    while read < count:
        for message in consumer.consume(10_000, 0.05):
            started = started or time.perf_counter()
            value = message.value()
            if value and value[0] == 123:
                clicks.decode_click(value)
                read += 1
    consumer.close()
    return count / (time.perf_counter() - started)


@dataclass
class Service:
    """A service process under measurement, seen through its /metrics."""

    process: subprocess.Popen[bytes] | None
    url: str

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series of this name that have these labels."""
        with urllib.request.urlopen(self.url, timeout=5) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in text.splitlines():
            match = re.match(rf"{name}(?:\{{(.*)\}})? (\S+)$", line)
            if match and all(f'{label}="{wanted}"' in (match[1] or "") for label, wanted in labels.items()):
                total += float(match[2])
        return total

    @property
    def resident_mib(self) -> int:
        return round(self.value("process_resident_memory_bytes") / 2**20)


@contextmanager
def service(name: str, env: dict[str, str], port: int) -> Iterator[Service]:
    """`cartstream run NAME`, ended with the block."""
    env = {**env, "CARTSTREAM_METRICS_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "cartstream.cli", "run", name], env=env)
    try:
        yield Service(process, f"http://127.0.0.1:{port}/metrics")
    finally:
        process.terminate()
        process.wait(30)


def wait_until(what: Callable[[], bool], limit_s: float = 300.0) -> None:
    """Poll a condition. Raises TimeoutError."""
    deadline = time.monotonic() + limit_s
    while not _holds(what):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s:.0f} s")
        time.sleep(0.05)


def _holds(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except OSError:  # the service does not listen yet
        return False


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""How long an exit signal takes from the clickstream to the provider's door, under a steady load."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from confluent_kafka import Producer

from cartstream.events.times import iso
from cartstream.runtime.kafka import ensure_topics
from tests.bench.ground import PARTITIONS, Ground, cpu_seconds, wait_until
from tests.bench.traffic import clicks
from tests.bench.whole import CUSTOMERS, STAGES, running, service_of

EXITS = int(os.environ.get("BENCH_EXITS", "300"))
PER_SECOND = 20
RATE = int(os.environ.get("BENCH_RATE", "5000"))
WARM_S = float(os.environ.get("BENCH_WARM_S", "45"))
TICK_S = 0.02


def exit_signal(on: Ground) -> dict[str, Any]:
    """Exit signals of known shoppers, 20 a second, among RATE other events a second, after WARM_S of the same (a broker's JVM compiles
    itself that long): produced → received by the fake SMS provider. `rounds`: how often each stage wrote, and how long it took."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    ensure_topics(on.brokers, prefix, PARTITIONS, 1, PARTITIONS)
    with running(on, prefix) as (processes, http):
        producer = Producer({"bootstrap.servers": on.brokers, "partitioner": "murmur2_random", "linger.ms": 0})
        _fill_carts(producer, prefix)
        stages = {name: service_of(processes, name) for name in STAGES}
        wait_until(lambda: stages["journeys"].value("cartstream_records_processed_total", outcome="ok") >= EXITS)
        with _load(on, prefix):
            _warm()
            pids = {name: processes.pid(name) for name in processes.names} | {"broker": on.broker_pid, "redis": on.redis_pid}
            before, begun = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.time()
            counted = {name: _rounds(stage) for name, stage in stages.items()}
            sent = _exits(producer, prefix)
            wait_until(lambda: len(_received(http)) >= EXITS, 120)
            seconds = time.time() - begun
            busy = {name: round((cpu_seconds(pid) - before[name]) / seconds, 2) for name, pid in pids.items()}
            rounds = {name: _between(counted[name], _rounds(stage), seconds) for name, stage in stages.items()}
        latencies = sorted(message["received_at"] - sent[message["to"]] for message in _received(http) if message["to"] in sent)
    return {
        "name": "exit_signal",
        "load_events_per_s": RATE,
        "signals": len(latencies),
        "p50_ms": round(statistics.median(latencies)),
        "p99_ms": round(latencies[int(len(latencies) * 0.99) - 1]),
        "cores": busy,
        "rounds": rounds,
    }


def _rounds(stage: Any) -> dict[str, float]:
    return {phase: stage.value("cartstream_phase_seconds_total", phase=phase) for phase in ("redis", "kafka", "wait", "step")} | {
        "count": stage.value("cartstream_batch_process_duration_seconds_count")
    }


def _between(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    count = after["count"] - before["count"]
    return {"per_s": round(count / seconds, 1)} | {
        f"{phase}_ms": round((after[phase] - before[phase]) / count * 1e3, 1) for phase in before if phase != "count"
    }


@contextmanager
def _load(on: Ground, prefix: str) -> Iterator[None]:
    """Clicks of other shoppers from a process of their own, stamped now, RATE a second."""
    load = multiprocessing.get_context("spawn").Process(target=click_on, args=(on.brokers, prefix, RATE), daemon=True)
    load.start()
    try:
        yield
    finally:
        load.kill()
        load.join()


def click_on(brokers: str, prefix: str, rate: int) -> None:
    """Until the process is killed."""
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "linger.ms": 5})
    due = time.time()
    while True:
        for device, event in clicks(max(1, int(rate * TICK_S)), CUSTOMERS, int(due * 1000), rate, seed=int(due * 1000)):
            producer.produce(prefix + "clickstream", event, device)
        producer.poll(0)
        due += TICK_S
        time.sleep(max(0.0, due - time.time()))


def _warm() -> None:
    deadline = time.monotonic() + WARM_S
    wait_until(lambda: time.monotonic() > deadline, WARM_S + 10)


def _fill_carts(producer: Producer, prefix: str) -> None:
    """Shoppers who say who they are and fill a cart."""
    offset = 12 - datetime.now(UTC).hour
    zone = f"Etc/GMT{-offset:+d}" if offset else "Etc/GMT"  # where it is noon: no quiet hours
    for number in range(EXITS):
        device, phone = f"leaver-{number}", f"+1202555{number:04d}"
        traits = {"phone": phone, "timezone": zone, "consent": {"sms": True}}
        cart = {"product_id": "sku-1", "price": 120.0, "quantity": 2, "currency": "EUR"}
        _click(producer, prefix, device, "identify", userId=device, traits=traits)
        _click(producer, prefix, device, "track", event="Product Added", properties=cart)
    producer.flush()


def _exits(producer: Producer, prefix: str) -> dict[str, int]:
    """They turn to go, one after the other: phone → when the exit signal was produced (ms)."""
    sent = {}
    due = time.time()
    for number in range(EXITS):
        device, phone = f"leaver-{number}", f"+1202555{number:04d}"
        sent[phone] = int(time.time() * 1000)
        _click(producer, prefix, device, "track", event="Exit Intent", properties={"trigger": "back_press", "dwell_ms": 20_000})
        due += 1 / PER_SECOND
        producer.flush()
        time.sleep(max(0.0, due - time.time()))
    return sent


def _click(producer: Producer, prefix: str, device: str, type: str, **fields: Any) -> None:
    body = {"type": type, "messageId": uuid.uuid4().hex, "anonymousId": device, "timestamp": iso(int(time.time() * 1000)), **fields}
    producer.produce(prefix + "clickstream", orjson.dumps(body), device)


def _received(http: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{http}/messages?after=0", timeout=10) as answer:
        messages: list[dict[str, Any]] = json.load(answer)
    return [message for message in messages if message["channel"] == "sms"]

"""All services together: how many events a second they keep up with, and how long an exit signal takes to reach the provider."""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import threading
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
from cartstream.up.processes import Processes
from cartstream.up.surroundings import fake_providers, throwaway_secrets
from tests.bench.ground import PARTITIONS, Ground, Service, fill, wait_until
from tests.bench.traffic import clicks

STAGES = ("identity", "sessions", "detection", "journeys")
SERVICES = (*STAGES, "email", "sms", "push", "insights")
EVENTS = int(os.environ.get("BENCH_EVENTS", "500000"))
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "50000"))
EXITS = int(os.environ.get("BENCH_EXITS", "300"))
RATE = int(os.environ.get("BENCH_RATE", "1000"))
MEMORY_NAME = "process_resident_memory_bytes"


def pipeline(on: Ground) -> dict[str, Any]:
    """A backlog of clicks, all services at once: done when the last of the four stages has nothing left."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    fill(on, prefix, EVENTS, CUSTOMERS)
    with _running(on, prefix) as (processes, _):
        stages = {name: _service(processes, name) for name in STAGES}
        wait_until(lambda: stages["identity"].value("cartstream_records_processed_total", outcome="ok") > 0)
        begun = time.perf_counter()
        wait_until(lambda: stages["identity"].value("cartstream_records_processed_total", outcome="ok") >= EVENTS)
        first_done = time.perf_counter() - begun
        wait_until(lambda: stages["sessions"].value("cartstream_records_processed_total", outcome="ok") >= EVENTS)
        wait_until(lambda: all(stage.value("cartstream_consumer_lag_records") < PARTITIONS * 50 for stage in stages.values()))
        seconds = time.perf_counter() - begun
        memory = {name: round(_service(processes, name).value(MEMORY_NAME) / 2**20) for name in SERVICES}
    return {
        "name": "pipeline",
        "events_per_s": round(EVENTS / seconds),
        "identity_events_per_s": round(EVENTS / first_done),
        "rss_mib": sum(memory.values()),
        "rss_mib_by_service": memory,
    }


def exit_signal(on: Ground) -> dict[str, Any]:
    """Exit signals of known shoppers, under a steady load of other clicks: produced → received by the fake SMS provider."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    ensure_topics(on.brokers, prefix, PARTITIONS, 1, PARTITIONS)
    with _running(on, prefix) as (processes, http):
        producer = Producer({"bootstrap.servers": on.brokers, "partitioner": "murmur2_random", "linger.ms": 0})
        _fill_carts(producer, prefix)
        journeys = _service(processes, "journeys")
        wait_until(lambda: journeys.value("cartstream_records_processed_total", outcome="ok") >= EXITS)
        stop = threading.Event()
        load = threading.Thread(target=_load, args=(on, prefix, stop), daemon=True)
        load.start()
        try:
            sent = _exits(producer, prefix)
            wait_until(lambda: len(_received(http)) >= EXITS, 120)
        finally:
            stop.set()
            load.join()
        latencies = sorted(message["received_at"] - sent[message["to"]] for message in _received(http) if message["to"] in sent)
    return {
        "name": "exit_signal",
        "load_events_per_s": RATE,
        "signals": len(latencies),
        "p50_ms": round(statistics.median(latencies)),
        "p99_ms": round(latencies[int(len(latencies) * 0.99) - 1]),
    }


@contextmanager
def _running(on: Ground, prefix: str) -> Iterator[tuple[Processes, str]]:
    smtp, http = _free_port(), _free_port()
    providers = fake_providers(smtp, http)
    env = {**on.environment(prefix), **throwaway_secrets(), **providers}
    with Processes(env, _say) as processes:
        processes.start("fakes", arguments=["fakes"])
        for name in SERVICES:
            processes.start(name)
        processes.wait_ready([name for name in SERVICES if name != "insights"], 120)
        yield processes, providers["CARTSTREAM_TWILIO_URL"]


def _say(name: str, line: str) -> None:
    if '"level": "error"' in line or not line.startswith("{"):
        print(f"{name}: {line}", file=sys.stderr)


def _service(processes: Processes, name: str) -> Service:
    return Service(None, processes.metrics_url(name) + "/metrics")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _load(on: Ground, prefix: str, stop: threading.Event) -> None:
    """Clicks of other shoppers, stamped now, RATE a second."""
    producer = Producer({"bootstrap.servers": on.brokers, "partitioner": "murmur2_random", "linger.ms": 5})
    while not stop.is_set():
        begun = time.time()
        for device, event in clicks(RATE // 10, CUSTOMERS, int(begun * 1000), RATE, seed=int(begun * 10)):
            producer.produce(prefix + "clickstream", event, device)
        producer.poll(0)
        stop.wait(max(0.0, begun + 0.1 - time.time()))
    producer.flush()


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
    for number in range(EXITS):
        device, phone = f"leaver-{number}", f"+1202555{number:04d}"
        sent[phone] = int(time.time() * 1000)
        _click(producer, prefix, device, "track", event="Exit Intent", properties={"trigger": "back_press", "dwell_ms": 20_000})
        producer.poll(0.02)
    producer.flush()
    return sent


def _click(producer: Producer, prefix: str, device: str, type: str, **fields: Any) -> None:
    body = {"type": type, "messageId": uuid.uuid4().hex, "anonymousId": device, "timestamp": iso(int(time.time() * 1000)), **fields}
    producer.produce(prefix + "clickstream", orjson.dumps(body), device)


def _received(http: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{http}/messages?after=0", timeout=10) as answer:
        messages: list[dict[str, Any]] = json.load(answer)
    return [message for message in messages if message["channel"] == "sms"]

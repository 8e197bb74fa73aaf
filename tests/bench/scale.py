"""What becomes of the sessions service with a million customers, with a restart, and with a second process."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import ExitStack
from functools import partial
from typing import Any

from confluent_kafka import Producer

from tests.bench.ground import START, Ground, Service, cpu_seconds, fill, service, wait_until
from tests.bench.stages import done
from tests.bench.traffic import clicks

CUSTOMERS = int(os.environ.get("BENCH_MANY_CUSTOMERS", "1000000"))
PER_CUSTOMER = 3
FEW = 50_000
EVENTS = 1_000_000
PACE = 100
"""Seconds of event time between two clicks of a customer, however many there are: the same work for each event."""


def million(on: Ground) -> dict[str, Any]:
    """The same work an event for many customers as for few, then a restart: how long from its process's start to its first output."""
    few = _steady(on, FEW, EVENTS)
    many = _steady(on, CUSTOMERS, PER_CUSTOMER * CUSTOMERS)
    return {
        "name": "million",
        "customers": CUSTOMERS,
        "events_per_s": many["events_per_s"],
        "with_50000_events_per_s": few["events_per_s"],
        "ratio": round(many["events_per_s"] / few["events_per_s"], 2),
        "cpu_us_per_event": many["cpu_us_per_event"],
        "with_50000_cpu_us_per_event": few["cpu_us_per_event"],
        "rss_mib": many["rss_mib"],
        "with_50000_rss_mib": few["rss_mib"],
        "rss_mib_at_two_thirds": many["rss_mib_before"],
        "restart_to_first_output_s": many["restart_s"],
    }


def two_processes(on: Ground) -> dict[str, Any]:
    """Two processes of the sessions service against one, on the same events: CPU time an event."""
    used = {}
    for count in (1, 2):
        prefix = _identified(on, FEW, EVENTS)
        with ExitStack() as stack:
            running = [stack.enter_context(service("sessions", on.environment(prefix), 19_310 + number)) for number in range(count)]
            wait_until(partial(_all_done, running, EVENTS))
            used[count] = sum(cpu_seconds(each.process.pid) for each in running if each.process is not None) / EVENTS * 1e6
    return {
        "name": "two_processes",
        "ratio": round(used[2] / used[1], 3),
        "cpu_us_per_event": {"one": round(used[1], 1), "two": round(used[2], 1)},
    }


def _steady(on: Ground, customers: int, events: int) -> dict[str, Any]:
    """The rate over the last third, when every customer is known."""
    prefix = _identified(on, customers, events)
    with service("sessions", on.environment(prefix), 19_303) as running:
        assert running.process is not None
        pid = running.process.pid
        wait_until(lambda: done(running) >= events * 2 // 3, 900)
        begun, before, used = time.perf_counter(), done(running), cpu_seconds(pid)
        rss_before = running.resident_mib
        wait_until(lambda: done(running) >= events, 900)
        seconds, handled = time.perf_counter() - begun, done(running) - before
        found = {
            "events_per_s": round(handled / seconds),
            "cpu_us_per_event": round((cpu_seconds(pid) - used) / handled * 1e6, 1),
            "rss_mib_before": rss_before,
            "rss_mib": running.resident_mib,
        }
    return found | {"restart_s": _restart(on, prefix)}


def _restart(on: Ground, prefix: str) -> float:
    producer = Producer({"bootstrap.servers": on.brokers, "partitioner": "murmur2_random"})
    for device, event in clicks(1_000, 1_000, START, seed=2):
        producer.produce(prefix + "clickstream.identified", event, device)
    producer.flush()
    begun = time.perf_counter()
    with service("sessions", on.environment(prefix, CARTSTREAM_INSTANCE_ID="again"), 19_304) as running:
        wait_until(lambda: running.value("cartstream_records_produced_total") > 0, 120)
        return round(time.perf_counter() - begun, 2)


def _identified(on: Ground, customers: int, events: int) -> str:
    """A new prefix whose identified clickstream has the events."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    fill(on, prefix, events, customers, per_second=max(1, customers // PACE))
    with service("identity", on.environment(prefix), 19_301) as running:
        wait_until(lambda: done(running) >= events, 900)
    return prefix


def _all_done(running: list[Service], events: int) -> bool:
    return sum(done(each) for each in running) >= events

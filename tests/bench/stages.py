"""How fast one service is, exactly once, against a bare consume-and-decode loop of the same run."""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

from tests.bench.ground import Ground, Service, cpu_seconds, fill, floor, service, wait_until

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "50000"))


def identity(on: Ground) -> dict[str, Any]:
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    fill(on, prefix, EVENTS, CUSTOMERS)
    least = floor(on, prefix + "clickstream", EVENTS)
    return _measure(on, "identity", prefix, least, 19_301)


def sessions(on: Ground) -> dict[str, Any]:
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    fill(on, prefix, EVENTS, CUSTOMERS)
    _measure(on, "identity", prefix, 1.0, 19_301)
    least = floor(on, prefix + "clickstream.identified", EVENTS)
    return _measure(on, "sessions", prefix, least, 19_302)


def _measure(on: Ground, name: str, prefix: str, least: float, port: int) -> dict[str, Any]:
    with service(name, on.environment(prefix), port) as running:
        wait_until(lambda: done(running) > 0)
        begun, at_begin = time.perf_counter(), done(running)
        assert running.process is not None
        before = [cpu_seconds(pid) for pid in (running.process.pid, on.broker_pid, on.redis_pid)]
        wait_until(lambda: done(running) >= EVENTS)
        seconds, handled = time.perf_counter() - begun, done(running) - at_begin
        used = [cpu_seconds(pid) - start for pid, start in zip((running.process.pid, on.broker_pid, on.redis_pid), before, strict=True)]
        rate = handled / seconds
        total = running.value("cartstream_phase_seconds_total")
        return {
            "name": name,
            "events_per_s": round(rate),
            "floor_events_per_s": round(least),
            "ratio": round(rate / least, 3),
            "rss_mib": running.resident_mib,
            "cpu_s_per_million": {
                part: round(cpu / handled * 1e6, 1) for part, cpu in zip(("service", "broker", "redis"), used, strict=True)
            },
            "records_per_batch": round(
                running.value("cartstream_records_consumed_total") / running.value("cartstream_batch_process_duration_seconds_count")
            ),
            "phases": {
                phase: round(running.value("cartstream_phase_seconds_total", phase=phase) / total, 2)
                for phase in ("poll", "step", "wait", "redis", "kafka")
            },
        }


def done(running: Service) -> float:
    """Events handled so far, but for what is refused and watermarks."""
    return running.value("cartstream_records_processed_total", outcome="ok") + running.value(
        "cartstream_records_processed_total", outcome="late"
    )

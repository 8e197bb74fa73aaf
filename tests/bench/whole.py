"""All services together: how many events a second they keep up with."""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cartstream.up.processes import Processes
from cartstream.up.surroundings import fake_providers, throwaway_secrets
from tests.bench.ground import PARTITIONS, Ground, Service, fill, wait_until

STAGES = ("identity", "sessions", "detection", "journeys")
SERVICES = (*STAGES, "email", "sms", "push", "insights")
EVENTS = int(os.environ.get("BENCH_EVENTS", "500000"))
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "50000"))


def pipeline(on: Ground) -> dict[str, Any]:
    """A backlog of clicks, all services at once: done when the last of the four stages has nothing left."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    fill(on, prefix, EVENTS, CUSTOMERS)
    with running(on, prefix) as (processes, _):
        stages = {name: service_of(processes, name) for name in STAGES}
        wait_until(lambda: stages["identity"].value("cartstream_records_processed_total", outcome="ok") > 0)
        begun = time.perf_counter()
        wait_until(lambda: stages["identity"].value("cartstream_records_processed_total", outcome="ok") >= EVENTS)
        first_done = time.perf_counter() - begun
        wait_until(lambda: stages["sessions"].value("cartstream_records_processed_total", outcome="ok") >= EVENTS)
        wait_until(lambda: all(stage.value("cartstream_consumer_lag_records") < PARTITIONS * 50 for stage in stages.values()))
        seconds = time.perf_counter() - begun
        memory = {name: service_of(processes, name).resident_mib for name in SERVICES}
    return {
        "name": "pipeline",
        "events_per_s": round(EVENTS / seconds),
        "identity_events_per_s": round(EVENTS / first_done),
        "rss_mib": sum(memory.values()),
        "rss_mib_by_service": memory,
    }


@contextmanager
def running(on: Ground, prefix: str) -> Iterator[tuple[Processes, str]]:
    """All services and the fakes, ready; with them where the fakes' HTTP is."""
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


def service_of(processes: Processes, name: str) -> Service:
    """Seen through its metrics."""
    return Service(None, processes.metrics_url(name) + "/metrics")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""What becomes of the memory of the services that see every event, over many events and when all sessions are over.

Orders are for the whole cart: where carts only grow, so do the states, which would hide what a process keeps and should not."""

from __future__ import annotations

import os
import threading
import uuid
from functools import partial
from typing import Any

from cartstream.runtime.kafka import ensure_topics
from tests.bench.ground import PARTITIONS, Ground, Service, fill, service, wait_until
from tests.bench.stages import done

EVENTS = int(os.environ.get("BENCH_ENDURANCE_EVENTS", "10000000"))
RATE = int(os.environ.get("BENCH_ENDURANCE_RATE", "18000"))
"""Clicks a second, as they would come: in a backlog no session ends. As many as two cores take that make them, too: at 25,000 sessions
fall behind, and the records that wait are a part of what is measured."""
CUSTOMERS = 50_000
SECONDS_BETWEEN_CLICKS = 450
"""Of one customer, in event time, on average: some sessions end with every second that passes."""
SAMPLES = 10
LIMIT_S = 1_800.0


def endurance(on: Ground) -> dict[str, Any]:
    """Resident memory in MiB after each tenth of the events, and when every session is over."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    ensure_topics(on.brokers, prefix, PARTITIONS, 1, PARTITIONS)
    feed = threading.Thread(
        target=fill,
        args=(on, prefix, EVENTS, CUSTOMERS),
        kwargs={"per_second": CUSTOMERS // SECONDS_BETWEEN_CLICKS, "rate": RATE, "whole_carts": True},
    )
    feed.start()
    with service("identity", on.environment(prefix), 19_311) as identity, service("sessions", on.environment(prefix), 19_312) as sessions:
        running = {"identity": identity, "sessions": sessions}
        resident: dict[str, list[int]] = {name: [] for name in running}
        lags = []
        for sample in range(1, SAMPLES + 1):
            wait_until(partial(_has_done, sessions, EVENTS * sample // SAMPLES), LIMIT_S)
            lags.append(round(sessions.value("cartstream_consumer_lag_records")))
            for name, each in running.items():
                resident[name].append(each.resident_mib)
        feed.join()
        wait_until(partial(_nobody_is_here, sessions), LIMIT_S)
        at_the_end = {name: each.resident_mib for name, each in running.items()}
    return {"name": "endurance", "events": EVENTS, "rss_mib": resident, "rss_mib_when_all_sessions_are_over": at_the_end, "lag": lags}


def _has_done(running: Service, events: int) -> bool:
    return done(running) >= events


def _nobody_is_here(sessions: Service) -> bool:
    """Quiet partitions follow the clock, which is far ahead of the events: everybody's session ends, and in the end all are forgotten."""
    return sessions.value("cartstream_timers_pending") == 0 and sessions.value("cartstream_consumer_lag_records") == 0

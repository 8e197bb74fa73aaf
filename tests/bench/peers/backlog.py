"""What every engine reads: clicks that the identity service has keyed by customer, and what must come of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from cartstream.embedded import EmbeddedRedis
from cartstream.embedded.child import free_port
from cartstream.events import avro, topics
from cartstream.events.records import Watermark
from cartstream.events.times import DAY, EventTime
from tests.bench.ground import Ground, fill, service, wait_until
from tests.bench.peers.records import committed_records
from tests.bench.peers.reference import Referee, Reference

SECONDS_BETWEEN_CLICKS = 450
"""Of one customer, on average: sessions then last about 50 clicks, and 15 of 100 clicks lead to an output."""
PRODUCTS = 50
"""Few, so that removals and orders meet what is in the cart."""
LIMIT_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """`topic` holds `clicks` clicks and `controls` other records that cartstream's sessions count; `watermark` is the last one told."""

    prefix: str
    topic: str
    clicks: int
    controls: int
    watermark: EventTime
    reference: Reference


def make_backlog(on: Ground, clicks: int, customers: int) -> Backlog:
    """Fill a clickstream and run identity over it, on a Redis of its own."""
    prefix = f"peers-{uuid.uuid4().hex[:6]}."
    fill(on, prefix, clicks, customers, per_second=max(1, customers // SECONDS_BETWEEN_CLICKS), products=PRODUCTS)
    with EmbeddedRedis() as redis:
        # Were it to follow the clock at the end, cartstream alone would have everybody's last session to end.
        never = {"CARTSTREAM_IDLE_GRACE_MS": str(DAY)}
        environment = {**on.environment(prefix), **never, "CARTSTREAM_REDIS_URL": redis.url}
        with service("identity", environment, free_port()) as identity:
            wait_until(lambda: identity.value("cartstream_records_processed_total", outcome="ok") >= clicks, LIMIT_S)
    return _read(on, prefix, clicks)


def _read(on: Ground, prefix: str, clicks: int) -> Backlog:
    topic = prefix + topics.IDENTIFIED
    referee, controls, watermarks = Referee(), 0, dict[str, EventTime]()
    for message in committed_records(on.brokers, topic):
        value = message.value()
        if value[:1] == b"{":
            referee.see(message.key(), value)
            continue
        control = avro.codec().decode(value)
        if isinstance(control, Watermark):
            watermarks[control.source] = max(control.at, watermarks.get(control.source, control.at))
        else:
            controls += 1
    reference = referee.finish()
    if reference.clicks != clicks:
        raise RuntimeError(f"{topic} has {reference.clicks} clicks instead of {clicks}: see the log of identity above")
    return Backlog(prefix, topic, clicks, controls, min(watermarks.values()), reference)

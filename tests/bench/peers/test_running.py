"""A peer that really runs."""

from __future__ import annotations

from confluent_kafka import Producer

from cartstream.events import avro
from cartstream.events.records import Watermark
from tests.bench.ground import PARTITIONS, Ground
from tests.bench.peers.backlog import Backlog
from tests.bench.peers.engines import ENGINES
from tests.bench.peers.reference import Referee
from tests.bench.peers.running import run_peer
from tests.bench.traffic import clicks
from tests.support import RealKafka

EVENTS, START = 20_000, 1_764_000_000_000


def identified_clicks(kafka: RealKafka, prefix: str) -> Backlog:
    """Clicks keyed by customer, here the device, with a watermark now and then."""
    topic, referee = f"{prefix}clickstream.identified", Referee()
    kafka.create_topics({topic: PARTITIONS})
    producer = Producer({"bootstrap.servers": kafka.address, "enable.idempotence": True, "partitioner": "murmur2_random"})
    for number, (customer, value) in enumerate(clicks(EVENTS, 500, START, 3, products=20)):
        referee.see(customer.encode(), value)
        producer.produce(topic, value, customer)
        if number % 1_000 == 0:
            producer.produce(topic, avro.codec().encode(Watermark("identity:0", 1, START)), partition=number // 1_000 % PARTITIONS)
    producer.flush()
    return Backlog(prefix, topic, EVENTS, 0, START, referee.finish())


def test_kafka_streams_tells_what_the_reference_says(kafka: RealKafka, topic_prefix: str) -> None:
    backlog = identified_clicks(kafka, topic_prefix)
    (engine,) = [engine for engine in ENGINES if engine.name == "kafka-streams"]
    row = run_peer(engine, Ground(kafka.address, "", kafka.pid, 0), backlog)
    assert row["check"]["correct"], row
    assert row["check"]["outputs"] > 1_000
    assert row["whole"]["events_per_s"] > 0
    assert row["peak_mib"]["engine"] > 50

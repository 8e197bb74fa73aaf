"""Identity on a clickstream of another format: in memory, and as a process on real servers."""

from __future__ import annotations

import socket
import time
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from cartstream.errors import Unavailable
from cartstream.events import topics
from cartstream.events.formats import ga4
from cartstream.events.formats.native import Incoming, Native, Translate
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.stage import IdentityStage
from cartstream.runtime.kafka import ensure_topics
from cartstream.runtime.layout import Layout
from cartstream.runtime.partition import Partition
from cartstream.runtime.stage import Record
from cartstream.runtime.store import Batch, MemoryStore
from tests.events.test_registry import SCHEMA, body
from tests.identity.people import page, settings
from tests.runtime.live import Place, until
from tests.runtime.services import SECRETS, service
from tests.support import RealKafka
from tests.support.registry import SmallRegistry, small_registry


class Desk:
    """Identity's one partition, and what it makes of records from offset 0 on."""

    def __init__(self, translate: Translate | None) -> None:
        stage = IdentityStage(settings(), MemoryDirectory(), None, translate)
        store = MemoryStore()
        self._partition = Partition(stage, 0, store, store.open(0, 0), Layout.of(1, 1))

    def do(self, *values: bytes) -> Batch:
        return self._partition.process([Record(topics.CLICKSTREAM, 0, offset, b"d", value) for offset, value in enumerate(values)])


def origins(batch: Batch) -> list[int]:
    """Of the events passed on: from where the outbox would read their bytes again; -1 is from itself."""
    return [wire.origin for wire in batch.outbox if wire.topic == topics.IDENTIFIED and wire.partition < 0]


def hits(*names: str, at: int | None = None) -> bytes:
    events = [{"name": name, "params": {"items": [{"item_id": "p", "price": 2}]}} for name in names]
    return orjson.dumps({"client_id": "d", "timestamp_micros": (at or 1_710_000_000_000) * 1000, "events": events})


def test_what_was_translated_is_kept_whole_in_the_outbox_and_what_passes_as_it_is_is_not() -> None:
    native = Desk(None).do(*(orjson.dumps(page("d", second)) for second in range(3)))
    assert origins(native)[1:] == [1, 2]

    assert origins(Desk(ga4.translate).do(hits("view_item"), hits("view_item", "add_to_cart"))) == [-1, -1, -1]

    mended = Desk(None).do(*(orjson.dumps(page("d", second, type="PAGE")) for second in range(3)))
    assert origins(mended) == [-1, -1, -1]
    assert mended.tally.found["repaired", "type_spelling"] == 3


def test_a_schema_that_must_be_waited_for_holds_the_batch_and_loses_nothing() -> None:
    away = [True]

    def translate(incoming: Incoming) -> list[Native]:
        if away[0]:
            raise Unavailable("schema registry (schema 7): ConnectError")
        return [Native(incoming.value)]

    desk = Desk(translate)
    with pytest.raises(Unavailable):
        desk.do(orjson.dumps(page("d", 0)))
    away[0] = False
    batch = desk.do(orjson.dumps(page("d", 0)))
    assert len(origins(batch)) == 1
    assert batch.tally.refused == {}


class Input(Place):
    """A clickstream, and identity's topics."""

    def __init__(self, kafka: RealKafka, redis_url: str, prefix: str) -> None:
        self.kafka, self.redis_url, self.prefix, self.partitions = kafka, redis_url, prefix, 1
        self.source, self.sink = prefix + topics.CLICKSTREAM, prefix + topics.IDENTIFIED
        kafka.create_topics({self.source: 1})
        ensure_topics(kafka.address, prefix, 1, 1)

    def environment(self, **more: Any) -> dict[str, Any]:
        usual = {"brokers": self.kafka.address, "redis_url": self.redis_url, "prefix": self.prefix, "partitions": 1, **SECRETS}
        return usual | {"session_timeout_ms": 6_000, **more}

    def send(self, *values: bytes, headers: dict[str, str | bytes | None] | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.address, "linger.ms": 1})
        for value in values:
            producer.produce(self.source, value, b"d", headers=headers or {})
        assert producer.flush(30) == 0

    def forwarded(self) -> list[dict[str, Any]]:
        return [orjson.loads(value) for message in self.messages() if (value := message.value() or b"").startswith(b"{")]

    def refused(self) -> list[str]:
        letters = self.messages(topics.dead_letters(self.source))
        return [str(dict(letter.headers() or [])["cs-reason"], "utf-8") for letter in letters]  # type: ignore[arg-type]


@pytest.fixture
def place(kafka: RealKafka, redis_url: str, topic_prefix: str) -> Input:
    return Input(kafka, redis_url, topic_prefix)


def test_identity_reads_the_format_that_it_is_told(place: Input) -> None:
    now = time.time_ns() // 1_000_000
    with service("identity", **place.environment(input_format="cloudevents+ga4")) as identity:
        envelope: dict[str, str | bytes | None] = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/shop", "ce_type": "ga4"}
        place.send(hits("view_item", "add_to_cart", at=now), headers=envelope)
        place.send(hits("purchase", at=now))  # no envelope
        undated = orjson.dumps({"client_id": "d", "events": [{"name": "view_cart"}, 7]})
        place.send(undated, headers=envelope)
        until(lambda: len(place.forwarded()) == 3, "three events")
        events = place.forwarded()
        until(lambda: len(place.refused()) == 2, "two dead letters")
        repaired = 'cartstream_outcomes_total{detail="time_from_record",kind="repaired",service="identity"}'
        until(lambda: identity.metric(repaired) == 1, "the event without a time to be counted")
        assert identity.stop() == 0
    assert [event["event"] for event in events] == ["Product Viewed", "Product Added", "Cart Viewed"]
    assert place.refused() == ["wrong_schema", "wrong_schema"]


def test_a_registry_that_is_away_is_waited_for_and_no_record_is_skipped(place: Input) -> None:
    pytest.importorskip("confluent_kafka.schema_registry", reason="needs cartstream[registry]", exc_type=ImportError)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    registry = SmallRegistry()
    schema = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "timestamp", "type": "long"}]}
    registry.put(7, schema)
    now = time.time_ns() // 1_000_000
    records = [b"\0\0\0\0\7" + body({"type": "page", "anonymousId": "d", "timestamp": now + number}, schema) for number in range(20)]
    with service("identity", **place.environment(input_format="avro", registry_url=f"http://127.0.0.1:{port}")) as identity:
        identity.ready()
        place.send(*records)
        until(lambda: "schema registry (schema 7)" in identity.get("/readyz")[1], "readiness to say what is waited for")
        assert identity.get("/livez")[0] == 200
        assert place.forwarded() == []
        with small_registry(port, registry):
            until(lambda: len(place.forwarded()) == len(records), "every record")
            identity.ready()
        assert identity.stop() == 0
    assert place.refused() == []
    assert registry.asked == ["/schemas/ids/7"]


@pytest.mark.parametrize("wrong", [{"input_format": "poem"}, {"input_format": "avro", "input_schemas": "/nowhere"}])
def test_a_format_that_there_is_not_ends_the_start_with_code_2(wrong: dict[str, str]) -> None:
    with service("identity", **SECRETS, **wrong) as identity:
        assert identity.process.wait(30) == 2

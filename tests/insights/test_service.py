from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from cartstream.embedded import EmbeddedBroker
from cartstream.embedded.child import free_port
from cartstream.events.records import Watermark
from cartstream.events.times import HOUR
from cartstream.insights.settings import InsightsSettings
from cartstream.runtime.settings import load
from tests.insights.service import WAIT_SECONDS, Feed, changelog, insights, story, topics
from tests.support import RealKafka


def now() -> int:
    return time.time_ns() // 1_000_000


def counted(report: Any) -> tuple[int, int, int]:
    totals = report["totals"]
    return totals["signals"].get("cart_abandoned", 0), totals["commands"], sum(totals["deliveries"].values())


@pytest.fixture
def address(kafka: RealKafka, topic_prefix: str) -> str:
    kafka.create_topics(topics(topic_prefix))
    return kafka.address


def test_what_is_committed_is_counted_and_survives_restarts_and_crashes(address: str, topic_prefix: str) -> None:
    feed = Feed(address, topic_prefix)
    feed.write(*story(now()), ("signals", Watermark(source="detection-0", sources=1, at=now())))
    feed.write(*story(now()), commit=False)

    with insights(address, topic_prefix) as first:
        report = first.wait(lambda report: counted(report) == (20, 20, 20))
        metrics = first.metrics()
        feed.write(*story(now()))
        first.wait(lambda report: counted(report) == (40, 40, 40))
        first.kill()

    email = report["totals"]["channels"]["email"]
    assert email["journeys"]["cart_abandonment"]["rates"] == {"accepted": 0.8, "suppressed": 0.2}
    assert email["steps"] == {"reminder": 20}
    assert report["partitions"] == [0, 1, 2, 3]
    assert 'cartstream_insights_deliveries_total{channel="email",journey="cart_abandonment",status="accepted"} 16.0' in metrics

    feed.write(*story(now(), customers=1))
    with insights(address, topic_prefix) as second:
        second.wait(lambda report: counted(report) == (41, 41, 41))
        assert second.stop() == 0


def test_offsets_keep_up_with_the_markers_of_many_transactions(address: str, topic_prefix: str) -> None:
    feed = Feed(address, topic_prefix)
    for at in range(20):
        feed.write(*(("signals", Watermark(source=f"detection-{n}", sources=4, at=at)) for n in range(4)))
    feed.write(*story(now()))

    with insights(address, topic_prefix) as running:
        running.wait(lambda report: counted(report) == (20, 20, 20))
        assert running.stop() == 0

    group = load(InsightsSettings, prefix=topic_prefix).group
    with closing(Consumer({"bootstrap.servers": address, "group.id": group})) as consumer:
        signals = [TopicPartition(f"{topic_prefix}signals", number) for number in range(4)]
        ends = [consumer.get_watermark_offsets(place, timeout=30)[1] for place in signals]
        # The end is behind the last transaction's marker.
        assert [place.offset for place in consumer.committed(signals, timeout=30)] == [end - 1 for end in ends]


def test_a_killed_process_leaves_no_folder(address: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Feed(address, topic_prefix).write(*story(now(), customers=1))

    with insights(address, topic_prefix) as running:
        running.wait(lambda report: counted(report) == (1, 1, 1))
        running.kill()

    assert not list(tmp_path.iterdir())


def test_a_window_is_an_hour_of_event_time(address: str, topic_prefix: str) -> None:
    hour = now() // HOUR * HOUR
    Feed(address, topic_prefix).write(*story(hour - 2 * HOUR, customers=3), *story(hour - HOUR, customers=2))

    with insights(address, topic_prefix) as running:
        report = running.wait(lambda report: counted(report) == (5, 5, 5))
        assert [window["figures"]["commands"] for window in report["windows"]] == [2, 3]
        assert [window["figures"]["commands"] for window in running.report("?hours=1")["windows"]] == [2]
        with pytest.raises(HTTPError, match="400"):
            running.report("?hours=many")


def test_a_poison_record_is_set_aside_whole_and_the_rest_goes_on(address: str, topic_prefix: str) -> None:
    poison = b"\x00\xff\xff\xff\xffnobody's schema"
    Feed(address, topic_prefix).write(("signals", poison), *story(now(), customers=2), *story(now() + 100 * HOUR, customers=1))

    with insights(address, topic_prefix) as running:
        running.wait(lambda report: counted(report) == (2, 2, 2))
        (dead,) = [letter for letter in dead_letters(address, f"{topic_prefix}signals.dlq", 2) if letter.value() == poison]
        assert 'cartstream_dlq_records_total{reason="bad_header",service="insights"} 1.0' in running.metrics()

    headers = {pair[0]: pair[1] for pair in dead.headers() or []}
    assert (headers["cs-reason"], headers["cs-service"], headers["cs-topic"]) == (b"bad_header", b"insights", b"signals")
    assert (headers["cs-partition"], headers["cs-offset"]) == (b"0", b"0")


def test_no_record_is_passed_over_while_no_dead_letter_is_taken(kafka: RealKafka, topic_prefix: str) -> None:
    """Also not one that is first in its partition, and not by stopping."""
    kafka.create_topics(topics(topic_prefix))
    limit = partial(limit_letters, kafka.address, [name for name in topics(topic_prefix) if name.endswith(".dlq")])
    poison = [(topic, b"\x00\xff\xff\xff\xffnobody's %d" % number) for number in range(8) for topic in ("signals", "deliveries")]
    limit(120)
    feed = Feed(kafka.address, topic_prefix)
    feed.write(*poison)
    feed.write(*story(now()))

    with insights(kafka.address, topic_prefix) as refused:
        deadline = time.monotonic() + WAIT_SECONDS
        while "MessageSizeTooLarge" not in refused.not_ready():
            assert time.monotonic() < deadline
        assert refused.stop() == 0
    limit(1_000_000)
    with insights(kafka.address, topic_prefix) as running:
        running.wait(lambda report: counted(report) == (20, 20, 20))
        letters = [letter for topic in ("signals", "deliveries") for letter in dead_letters(kafka.address, f"{topic_prefix}{topic}.dlq", 8)]

    assert Counter(letter.value() for letter in letters) == Counter(value for _, value in poison)


def test_members_that_come_and_go_before_anything_is_committed_count_each_record_once(address: str, topic_prefix: str) -> None:
    feed, never = Feed(address, topic_prefix), {"CARTSTREAM_INSIGHTS_COMMIT_S": "600"}
    with insights(address, topic_prefix, **never) as first:
        first.wait(lambda report: report["partitions"] == [0, 1, 2, 3])
        with insights(address, topic_prefix, **never) as second, feeding(feed, 20) as fed:
            second.wait(lambda report: report["partitions"])
            assert second.stop() == 0
            total = fed()
        first.wait(lambda report: counted(report) == (total, total, total))


def test_a_poison_record_above_a_megabyte_is_set_aside_and_the_rest_goes_on(kafka: RealKafka, topic_prefix: str) -> None:
    address, poison = kafka.address, os.urandom(1_200_000)
    kafka.create_topics(topics(topic_prefix), {"max.message.bytes": "3000000"})
    Feed(address, topic_prefix).write(("signals", poison), *story(now(), customers=2))

    with insights(address, topic_prefix) as running:
        running.wait(lambda report: counted(report) == (2, 2, 2))
        (dead,) = dead_letters(address, f"{topic_prefix}signals.dlq", 1)

    assert dead.value() == poison


def test_topics_of_another_size_stop_it_with_a_clear_line(kafka: RealKafka, topic_prefix: str, capfd: pytest.CaptureFixture[str]) -> None:
    kafka.create_topics(dict.fromkeys(topics(topic_prefix), 2))

    with insights(kafka.address, topic_prefix) as running:
        assert running.ends() == 1

    assert f"topic {topic_prefix}signals has 2 partitions, CARTSTREAM_PARTITIONS says 4" in capfd.readouterr().err


def test_without_a_broker_it_is_alive_says_why_it_is_not_ready_and_stops_when_told() -> None:
    nowhere = f"127.0.0.1:{free_port()}"

    with insights(nowhere, "nowhere.") as running:
        deadline = time.monotonic() + WAIT_SECONDS
        while "Kafka" not in running.not_ready():
            assert time.monotonic() < deadline
        assert running.alive()
        assert running.stop() == 0


def test_it_counts_on_the_embedded_broker_too(topic_prefix: str) -> None:
    settings = {"CARTSTREAM_INSIGHTS_DECLARE_TOPICS": "false", "CARTSTREAM_INSIGHTS_CHECK_CRCS": "false"}
    with EmbeddedBroker({**topics(topic_prefix), **changelog(topic_prefix)}) as broker:
        Feed(broker.address, topic_prefix).write(*story(now()))

        with insights(broker.address, topic_prefix, **settings) as first:
            first.wait(lambda report: counted(report) == (20, 20, 20))
            assert first.stop() == 0
        with insights(broker.address, topic_prefix, **settings) as second:
            second.wait(lambda report: counted(report) == (20, 20, 20))


@contextmanager
def feeding(feed: Feed, customers: int) -> Iterator[Callable[[], int]]:
    """Stories one after another, in the background. The call given ends it, and says of how many customers they were."""
    stop, told = Event(), [0]

    def feed_on() -> None:
        while not stop.wait(0.05):
            feed.write(*story(now(), customers))
            told[0] += customers

    thread = Thread(target=feed_on)
    thread.start()

    def end() -> int:
        stop.set()
        thread.join()
        return told[0]

    try:
        yield end
    finally:
        end()


def limit_letters(address: str, names: Sequence[str], size: int) -> None:
    """What the broker takes at most. A transaction's marker is a batch of 78 bytes."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    changed = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry]) for name in names]
    admin = AdminClient({"bootstrap.servers": address})
    for done in admin.incremental_alter_configs(changed).values():
        done.result(WAIT_SECONDS)


def dead_letters(address: str, topic: str, count: int) -> Iterator[Message]:
    settings = {"bootstrap.servers": address, "group.id": f"{topic}.reader", "enable.auto.commit": False}
    deadline = time.monotonic() + WAIT_SECONDS
    with closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                count -= 1
                yield message
    assert not count, f"{count} dead letters are missing"

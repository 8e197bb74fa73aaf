"""Servers that go away for a while: the loop waits, says so, and goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cartstream.embedded.redis import EmbeddedRedis
from cartstream.events import avro
from cartstream.events.records import Watermark
from cartstream.events.times import EventTime
from cartstream.runtime.clock import SystemClock
from cartstream.runtime.redis_store import connect
from cartstream.runtime.turns import ASLEEP_S
from tests.runtime.live import Place, running, until
from tests.runtime.toy import Act
from tests.support import RealKafka


@pytest.fixture
def place(kafka: RealKafka, redis_url: str, topic_prefix: str) -> Place:
    return Place(kafka, redis_url, topic_prefix)


def test_a_redis_that_restarts_is_waited_for_and_nothing_is_lost_or_repeated(kafka: RealKafka, topic_prefix: str, tmp_path: Path) -> None:
    with EmbeddedRedis(directory=tmp_path, append_only=True) as first:
        place = Place(kafka, first.url, topic_prefix)
        port = int(first.url.rpartition(":")[2].partition("/")[0])
        with running(place) as loop:
            place.put(Act("a"), Act("b"))
            place.await_committed(2)
            loop.ready()
            first.__exit__(None, None, None)
            place.put(Act("a"), Act("b"))
            why = until(loop.health.readiness, "readiness to be lost")
            assert "Redis (toy)" in (why or "")
            assert loop.health.liveness() is None
            with EmbeddedRedis(directory=tmp_path, append_only=True, port=port):
                place.await_committed(4)
                loop.ready()
                place.put(Act("a"))
                place.await_committed(5)
                assert loop.metric("waits_total") > 0
                loop.end()

    assert place.said() == ["a:1", "b:1", "a:2", "b:2", "a:3"]


def test_a_redis_that_hangs_longer_than_the_time_limit_delays_the_work_and_no_more(place: Place) -> None:
    with running(place) as loop, connect(place.redis_url) as admin:
        place.put(Act("a"))
        place.await_committed(1)
        admin.execute_command("CLIENT", "PAUSE", 3_000, "WRITE")
        place.put(Act("a"))
        until(lambda: "Redis (toy)" in (loop.health.readiness() or ""), "readiness to be lost")
        place.await_committed(2)
        loop.ready()
        place.put(Act("a"))
        place.await_committed(3)

    assert place.said() == ["a:1", "a:2", "a:3"]


def test_a_service_that_cannot_reach_redis_at_the_start_waits_and_can_be_stopped(kafka: RealKafka, topic_prefix: str) -> None:
    place = Place(kafka, "redis://127.0.0.1:1/0", topic_prefix)
    with running(place) as loop:
        place.put(Act("a"))
        until(lambda: "Redis (toy)" in (loop.health.readiness() or ""), "the reason for not being ready")
    assert place.said() == []


def test_a_topic_that_appears_late_is_waited_for(place: Place, topic_prefix: str) -> None:
    late = Place.__new__(Place)
    late.kafka, late.redis_url, late.prefix, late.partitions = place.kafka, place.redis_url, topic_prefix + "late.", 1
    with running(late) as loop:
        until(lambda: "is not there: create it" in (loop.health.readiness() or ""), "the reason for not being ready")
        made = Place(place.kafka, place.redis_url, topic_prefix + "late.")
        made.put(Act("a"))
        made.await_committed(1)
        loop.ready()
    assert made.said() == ["a:1"]


def test_a_defect_in_the_program_costs_one_record_and_no_more(place: Place) -> None:
    poison = Act("a", fail=True)
    with running(place):
        place.put(Act("a"), poison, Act("a"), b"no act at all", Act("a"))
        place.await_committed(5)

    assert place.said() == ["a:1", "a:2", "a:3"]
    letters = place.messages(place.source + ".dlq")
    reasons = {dict(letter.headers() or [])["cs-offset"]: dict(letter.headers() or [])["cs-reason"] for letter in letters}
    assert reasons == {b"1": b"step_failed", b"3": b"unparseable"}


def test_a_stop_while_records_flow_leaves_redis_and_kafka_level(place: Place) -> None:
    with running(place, batch_size=7) as loop:
        loop.owns(1)
        place.put(*(Act(f"k{n % 3}") for n in range(500)))
        until(lambda: place.committed() > 0, "a first commit")
    done = place.committed()
    with running(place) as loop:
        until(lambda: loop.metric("recoveries_total", found="level") == 1, "both found level")
        place.await_committed(500)

    assert 0 < done <= 500
    said = place.said()
    assert len(said) == len(set(said)) == 500


def test_a_quiet_partition_follows_the_clock_once_it_is_caught_up(place: Place) -> None:
    with running(place, announce_ms=10, idle_ms=10, idle_grace_ms=50) as loop:
        place.put(Act("a", at=1_000))
        place.await_committed(1)
        until(lambda: loop.metric("watermark_timestamp_seconds", partition="0") > 1_700_000_000, "the clock's time")
        until(lambda: any(message.key() is None for message in place.messages()), "the watermark passed on")


def test_a_partition_that_never_had_a_record_tells_the_time_too(kafka: RealKafka, redis_url: str, topic_prefix: str) -> None:
    """Else no time would ever pass for those who read from all partitions: the first shopper of a new shop gets no message."""
    place = Place(kafka, redis_url, topic_prefix, partitions=2)
    with running(place, announce_ms=10, idle_ms=10, idle_grace_ms=50):
        place.put(Act("a", at=1_000))
        until(lambda: {mark.source for mark in marks(place)} == {"toy:0", "toy:1"}, "the watermarks of both partitions")


def marks(place: Place) -> list[Watermark]:
    return [avro.codec().decode(message.value() or b"") for message in place.messages() if message.key() is None]


class Nap(SystemClock):
    """A clock at which the process falls asleep once: `meanwhile` happens, and time goes on."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None

    def now(self) -> EventTime:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            threading.Event().wait(ASLEEP_S + 0.2)
        return super().now()


def test_a_process_that_slept_does_not_take_its_sleep_for_silence(place: Place) -> None:
    """What came while it slept must be read before its time counts as passed: it may be a purchase."""
    clock = Nap()
    with running(place, clock=clock, announce_ms=10, idle_ms=10, idle_grace_ms=50) as loop:
        place.put(Act("a", at=1_000))
        until(lambda: loop.metric("watermark_timestamp_seconds", partition="0") > 1_700_000_000, "the clock's time")
        bought_at = clock.now()
        clock.meanwhile = lambda: place.put(Act("bought", at=bought_at))
        until(lambda: "bought:1" in place.said(), "what came meanwhile")

    told = place.messages()
    known = next(place for place, message in enumerate(told) if message.value() == b"bought:1")
    before = [avro.codec().decode(message.value() or b"").at for message in told[:known] if message.key() is None]
    assert before
    assert max(before) < bought_at


def test_the_last_record_of_a_partition_does_not_hold_back_the_clock(place: Place) -> None:
    """The end of the partition may come in the same poll as the record."""

    def watermark_passes(at: float) -> None:
        until(lambda: loop.metric("watermark_timestamp_seconds", partition="0") > at, "the clock's time")

    with running(place, announce_ms=10, idle_ms=10, idle_grace_ms=50) as loop:
        for number in range(10):
            place.put(Act("a", at=1_000 + number))
            place.await_committed(number + 1)
            watermark_passes(time.time())

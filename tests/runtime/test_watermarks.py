from __future__ import annotations

from cartstream.events.records import Watermark
from cartstream.runtime.watermarks import UNKNOWN, AlignedWatermark, RecordWatermark


def aligned(*marks: Watermark, service: str = "sessions") -> AlignedWatermark:
    found = AlignedWatermark(service, {}, {})
    for mark in marks:
        found.update(mark)
    return found


def mark(source: str, at: int, sources: int = 1) -> Watermark:
    return Watermark(source, sources, at)


def test_the_watermark_is_the_newest_time_less_the_lateness() -> None:
    watermark = RecordWatermark(100, {})
    assert watermark.value == UNKNOWN

    watermark.observe(1_000)
    watermark.observe(500)

    assert watermark.value == 899


def test_an_event_exactly_as_late_as_allowed_is_not_behind_the_watermark() -> None:
    watermark = RecordWatermark(100, {})
    watermark.observe(1_000)
    assert watermark.value < 1_000 - 100


def test_following_the_clock_never_goes_back() -> None:
    watermark = RecordWatermark(100, {})
    watermark.follow_clock(2_000)
    watermark.observe(1_500)
    watermark.follow_clock(1_000)
    assert watermark.value == 1_899


def test_a_restart_keeps_the_promise_made() -> None:
    sources: dict[str, int] = {}
    RecordWatermark(100, sources).observe(1_000)
    assert RecordWatermark(100, dict(sources)).value == 899


def test_time_is_unknown_until_every_source_and_sibling_has_spoken() -> None:
    watermark = aligned(mark("identity:0", 50, 2))
    assert (watermark.upstream, watermark.value) == (UNKNOWN, UNKNOWN)

    watermark.update(mark("identity:1", 70, 2))
    assert (watermark.upstream, watermark.value) == (50, UNKNOWN)

    watermark.update(mark("sessions:0", 50, 2))
    assert watermark.value == UNKNOWN

    watermark.update(mark("sessions:1", 40, 2))
    assert watermark.value == 40


def test_the_slowest_source_decides() -> None:
    watermark = aligned(mark("identity:0", 50, 2), mark("identity:1", 70, 2), mark("sessions:0", 90))
    assert watermark.value == 50

    watermark.update(mark("identity:0", 80, 2))
    assert watermark.value == 70


def test_the_slowest_sibling_decides() -> None:
    watermark = aligned(mark("identity:0", 100), mark("sessions:0", 100, 2), mark("sessions:1", 60, 2))
    assert (watermark.upstream, watermark.value) == (100, 60)


def test_a_source_never_takes_a_promise_back() -> None:
    watermark = aligned(mark("identity:0", 50), mark("sessions:0", 50))
    watermark.update(mark("identity:0", 10))
    assert watermark.value == 50


def test_a_restart_goes_on_from_the_stored_sources() -> None:
    before = aligned(mark("identity:0", 50, 2), mark("identity:1", 70, 2), mark("sessions:0", 60))
    after = AlignedWatermark("sessions", before.expected, before.sources)
    assert (after.upstream, after.value) == (50, 50)


def test_looking_ahead_changes_nothing() -> None:
    watermark = aligned(mark("identity:0", 50), mark("sessions:0", 50))
    assert list(watermark.after_each([mark("identity:0", 90), mark("sessions:0", 80)])) == [50, 80]
    assert watermark.value == 50

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.events.times import DAY, HOUR, MINUTE, iso, parse_iso
from cartstream.journeys.definition import Quiet, WallTime
from cartstream.journeys.quiet import allowed_at, is_quiet, zone_of
from tests.journeys.story import NOON, abandoned, commands, customer, decisions, leaving, messages, ordered, run

ONLY_PUSH: dict[str, Any] = {"channels": ["push"]}


def window(start: str, until: str) -> Quiet:
    return Quiet(start=WallTime.parse(start), until=WallTime.parse(until))


# zone, window, moment, first allowed moment
MOMENTS = [
    ("UTC", ("22:00", "08:00"), "2024-03-13T21:59:59.999Z", "2024-03-13T21:59:59.999Z"),
    ("UTC", ("22:00", "08:00"), "2024-03-13T22:00:00.000Z", "2024-03-14T08:00:00.000Z"),
    ("UTC", ("22:00", "08:00"), "2024-03-14T07:59:59.999Z", "2024-03-14T08:00:00.000Z"),
    ("UTC", ("12:00", "14:00"), "2024-03-13T13:10:00.000Z", "2024-03-13T14:00:00.000Z"),
    ("Asia/Kolkata", ("22:00", "08:00"), "2024-03-13T20:00:00.000Z", "2024-03-14T02:30:00.000Z"),
    # Berlin, spring: the night of 31 March 2024 is an hour shorter, so 08:00 is 06:00 UTC, not 07:00.
    ("Europe/Berlin", ("22:00", "08:00"), "2024-03-30T22:00:00.000Z", "2024-03-31T06:00:00.000Z"),
    # Berlin, autumn: the night of 27 October 2024 is an hour longer.
    ("Europe/Berlin", ("22:00", "08:00"), "2024-10-26T21:00:00.000Z", "2024-10-27T07:00:00.000Z"),
    # New York, 10 March 2024: 02:30 does not exist; the window ends where the clock jumps from 02:00 to 03:00.
    ("America/New_York", ("22:00", "02:30"), "2024-03-10T04:00:00.000Z", "2024-03-10T07:00:00.000Z"),
    # New York, 3 November 2024: 01:30 comes twice. At its first pass the window is over.
    ("America/New_York", ("22:00", "01:30"), "2024-11-03T04:00:00.000Z", "2024-11-03T05:30:00.000Z"),
    # At 01:00 for the second time the wall clock is inside the window again.
    ("America/New_York", ("22:00", "01:30"), "2024-11-03T06:10:00.000Z", "2024-11-03T06:30:00.000Z"),
    # Lord Howe Island changes by half an hour.
    ("Australia/Lord_Howe", ("22:00", "08:00"), "2024-10-05T13:00:00.000Z", "2024-10-05T21:00:00.000Z"),
]


@pytest.mark.parametrize(("zone", "hours", "moment", "expected"), MOMENTS)
def test_quiet_hours_end_by_the_local_clock(zone: str, hours: tuple[str, str], moment: str, expected: str) -> None:
    assert iso(allowed_at(parse_iso(moment), ZoneInfo(zone), window(*hours))) == expected


@given(
    at=st.integers(parse_iso("2024-01-01"), parse_iso("2026-01-01")),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]),
    start=st.integers(0, 1439),
    length=st.integers(1, 1439),
)
def test_the_allowed_moment_is_the_first_that_is_not_quiet(at: int, zone: str, start: int, length: int) -> None:
    quiet = Quiet(start=WallTime(start * MINUTE), until=WallTime((start + length) % 1440 * MINUTE))
    allowed = allowed_at(at, ZoneInfo(zone), quiet)

    assert not is_quiet(allowed, ZoneInfo(zone), quiet)
    assert at <= allowed <= at + DAY + 2 * HOUR
    assert all(is_quiet(moment, ZoneInfo(zone), quiet) for moment in range(at, allowed, 7 * MINUTE))
    assert allowed == at or is_quiet(allowed - 1, ZoneInfo(zone), quiet)


def test_the_zone_falls_back_from_customer_to_journey_to_utc() -> None:
    assert zone_of(("Asia/Tokyo", "Europe/Berlin")) == (ZoneInfo("Asia/Tokyo"), False)
    assert zone_of((None, "Europe/Berlin")) == (ZoneInfo("Europe/Berlin"), False)
    assert zone_of(("Mars/Base", "Europe/Berlin")) == (ZoneInfo("Europe/Berlin"), True)
    assert zone_of(("../../etc/passwd", None)) == (ZoneInfo("UTC"), True)


def test_a_push_at_night_waits_for_the_customers_morning() -> None:
    night = parse_iso("2024-03-13T23:30:00Z")
    running = run(customer(night - DAY, timezone="Europe/Berlin", **ONLY_PUSH), abandoned(night), until=night + 12 * HOUR)

    (deferred,), (command,) = decisions(running, "deferred"), commands(running)

    assert (deferred.rule, deferred.inputs) == ("quiet_hours", {"local_time": "01:30", "timezone": "Europe/Berlin"})
    assert deferred.at == night + HOUR
    assert deferred.allowed_at == command.at == parse_iso("2024-03-14T07:00:00Z")
    assert command.expires_at == command.at + 12 * HOUR


def test_a_purchase_while_the_message_waits_stops_it() -> None:
    night = parse_iso("2024-03-13T23:30:00Z")
    running = run(customer(night - DAY, **ONLY_PUSH), abandoned(night), ordered(night + 5 * HOUR))

    assert commands(running) == []
    assert [d.outcome for d in decisions(running)] == ["entered", "deferred", "stopped"]


def test_an_exit_at_night_is_not_answered_and_says_when_it_would_be() -> None:
    night = parse_iso("2024-03-13T23:30:00Z")
    running = run(customer(**ONLY_PUSH), leaving(night), until=0)

    (suppressed,) = decisions(running, "suppressed")

    assert (suppressed.rule, suppressed.allowed_at) == ("quiet_hours", parse_iso("2024-03-14T08:00:00Z"))


def test_an_impossible_zone_is_counted_and_utc_is_used() -> None:
    running = run(customer(timezone="GMT+25", **ONLY_PUSH), abandoned(), until=NOON + 2 * HOUR)

    assert messages(running) == [("cart_abandonment", "reminder", "push", 1)]
    assert ("timezone", "invalid") in running.outcomes

from __future__ import annotations

import pytest
from faust import TumblingWindow
from hypothesis import given
from hypothesis import strategies as st

from cartstream.errors import Refused
from cartstream.events.records import Activity, ChannelFailed, Command, Customer, Delivery, Handover, Merge, Signal, Watermark
from cartstream.events.times import DAY, HOUR, SECOND
from cartstream.insights.tally import Rows, Tally, counts, hour_of, measure_of

NOON = 1_700_000_000_000 // HOUR * HOUR


def signal(at: int = NOON, kind: str = "cart_abandoned") -> Signal:
    return Signal(id="s", kind=kind, customer_id="c", at=at, last_activity=at)


def delivery(at: int = NOON, status: str = "accepted") -> Delivery:
    return Delivery(
        id="d", command_id="m", customer_id="c", channel="email", journey="cart_abandonment", step="reminder", at=at, status=status
    )


def command(at: int = NOON) -> Command:
    return Command(
        command_id="m",
        customer_id="c",
        channel="sms",
        journey="exit_intent",
        step="nudge",
        template="exit_intent",
        at=at,
        expires_at=at,
        guard="purchase",
        order_mark=0,
    )


def total(rows: Rows, *partitions: int) -> int:
    return sum(count for _, _, count in counts(rows, frozenset(partitions)))


def test_signals_commands_and_deliveries_each_have_their_measure() -> None:
    assert measure_of(signal()) == (("signal", "cart_abandoned"), NOON)
    assert measure_of(command()) == (("command", "sms", "exit_intent", "nudge"), NOON)
    assert measure_of(delivery()) == (("delivery", "email", "cart_abandonment", "accepted"), NOON)


@pytest.mark.parametrize(
    "record",
    [
        Watermark(source="detection-0", sources=1, at=NOON),
        Merge(loser="a", survivor="b", at=NOON, event_id="e", identifier_type="email"),
        Handover(service="journeys", loser="a", survivor="b", at=NOON, state=b""),
        Customer(customer_id="c", at=NOON),
        ChannelFailed(customer_id="c", channel="sms", reason="opted_out", at=NOON),
    ],
)
def test_what_only_the_chain_needs_is_not_counted(record: object) -> None:
    rows: Rows = {}

    assert Tally(rows, DAY).add(record, 0, 0) == "control"
    assert rows == {}


def test_a_record_of_another_topic_is_refused() -> None:
    activity = Activity(id="a", kind="cart_updated", customer_id="c", at=NOON, last_activity=NOON)

    with pytest.raises(Refused, match="Activity does not belong"):
        measure_of(activity)


def test_hours_are_those_of_fausts_tumbling_window() -> None:
    window = TumblingWindow(3600.0)

    for at in (NOON, NOON + 1, NOON + HOUR - 1, NOON + HOUR):
        assert hour_of(at) == window.current(at / SECOND)


def test_the_hour_is_that_of_the_event_and_not_of_its_arrival() -> None:
    rows: Rows = {}
    tally = Tally(rows, DAY)

    for offset, at in enumerate((NOON, NOON + HOUR - 1, NOON + HOUR, NOON + 5)):
        tally.add(signal(at), 0, offset)

    assert {start: count for _, start, count in counts(rows, frozenset({0}))} == {NOON / SECOND: 3, (NOON + HOUR) / SECOND: 1}


def test_a_record_that_is_read_again_counts_once() -> None:
    rows: Rows = {}
    for offset in range(3):
        Tally(rows, DAY).add(signal(), 0, offset)

    again = Tally(rows, DAY)
    verdicts = [again.add(signal(), 0, offset) for offset in range(5)]

    assert verdicts == ["duplicate", "duplicate", "duplicate", "ok", "ok"]
    assert total(rows, 0) == 5


def test_partitions_are_counted_apart_and_only_the_owned_ones_are_shown() -> None:
    rows: Rows = {}
    tally = Tally(rows, DAY)
    for partition in (0, 1, 2):
        tally.add(signal(), partition, 0)

    assert (total(rows, 0), total(rows, 0, 1, 2)) == (1, 3)


def test_hours_beyond_the_retention_are_dropped_and_later_arrivals_for_them_too() -> None:
    rows: Rows = {}
    tally = Tally(rows, 2 * HOUR)
    tally.add(signal(NOON), 0, 0)
    tally.add(signal(NOON), 1, 0)

    tally.add(signal(NOON + 2 * HOUR), 0, 1)

    assert (total(rows, 0), total(rows, 1)) == (1, 1)
    assert tally.add(signal(NOON), 0, 2) == "late"
    assert tally.add(signal(NOON + HOUR), 0, 3) == "ok"


def test_a_new_owner_knows_the_newest_hour_from_the_rows() -> None:
    rows: Rows = {}
    Tally(rows, 2 * HOUR).add(signal(NOON + 2 * HOUR), 0, 0)

    assert Tally(rows, 2 * HOUR).add(signal(NOON), 0, 1) == "late"


@given(st.lists(st.integers(0, 30), min_size=1), st.lists(st.integers(0, 29)))
def test_crashes_anywhere_change_no_count(minutes: list[int], crashes: list[int]) -> None:
    """After a crash everything from some earlier offset on is read again."""
    records = [signal(NOON + minute * 3 * HOUR // 60) for minute in minutes]
    smooth: Rows = {}
    for offset, record in enumerate(records):
        Tally(smooth, DAY).add(record, 0, offset)

    rough: Rows = {}
    for crash in [*sorted(crashes), len(records)]:
        tally = Tally(rough, DAY)
        for offset in range(min(crash, len(records))):
            tally.add(records[offset], 0, offset)

    assert rough == smooth

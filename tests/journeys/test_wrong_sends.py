"""A message had gone out when it turned out that the shopper had bought before."""

from __future__ import annotations

import pytest

from cartstream.events.records import Decision, Handover, Merge
from cartstream.events.times import DAY, HOUR, MINUTE, EventTime
from tests.detection.harness import END, Partition
from tests.journeys.story import NOON, abandoned, browsed, commands, customer, decisions, ordered, partition

EITHER = pytest.mark.parametrize(("loser", "survivor"), [("ann", "bob"), ("bob", "ann")])


def reminded(until: EventTime = NOON + 2 * HOUR, **fields: object) -> Partition:
    """Ann got her reminder at one o'clock."""
    running = partition()
    running.feed(customer(), customer(name="bob"), abandoned(**fields))  # type: ignore[arg-type]
    running.advance(until)
    return running


def wrong(running: Partition) -> list[Decision]:
    return decisions(running, "wrong_send_detected")


def test_a_purchase_that_comes_after_the_message_it_should_have_stopped_is_told_and_counted() -> None:
    running = reminded()
    running.feed(ordered(NOON + 50 * MINUTE))
    running.advance(END)

    (reminder,) = commands(running)
    (found,) = wrong(running)
    assert (found.rule, found.step, found.channel, found.command_id) == ("late_purchase", "reminder", "email", reminder.command_id)
    assert found.inputs == {"order_at": "2024-03-13T12:50:00.000Z", "sent_at": "2024-03-13T13:00:00.000Z"}
    assert running.outcomes.count(("wrong_send_detected", "late_purchase")) == 1


@pytest.mark.parametrize(
    "order_at",
    [NOON - MINUTE, NOON + HOUR, NOON + 90 * MINUTE],
    ids=["before what it is about", "at the time of the message", "after the message"],
)
def test_a_purchase_that_the_message_did_not_overlook_is_no_fault(order_at: EventTime) -> None:
    running = reminded()
    running.feed(ordered(order_at))
    running.advance(END)

    assert wrong(running) == []


def test_a_purchase_in_time_stops_the_message_instead() -> None:
    running = partition()
    running.feed(customer(), abandoned(), ordered(NOON + 50 * MINUTE))
    running.advance(END)

    assert (commands(running), wrong(running)) == ([], [])


def test_the_same_purchase_told_again_is_the_same_fault() -> None:
    running = reminded()
    running.feed(ordered(NOON + 50 * MINUTE), ordered(NOON + 50 * MINUTE), ordered(NOON + 55 * MINUTE))
    running.advance(END)

    assert len(wrong(running)) == 1


def test_a_message_about_a_visit_counts_from_its_last_look() -> None:
    running = partition()
    running.feed(customer(), browsed())
    running.advance(NOON + 5 * HOUR)
    running.feed(ordered(NOON + 3 * HOUR, "hat"))
    running.advance(END)

    assert [found.journey for found in wrong(running)] == ["browse_abandonment"]


@EITHER
def test_a_login_that_shows_whose_the_purchase_was_tells_it_whoever_survives(loser: str, survivor: str) -> None:
    running = reminded()
    running.feed(ordered(NOON + 50 * MINUTE, name="bob"))
    running.advance(NOON + 3 * HOUR)
    running.feed(Merge(loser, survivor, NOON + 3 * HOUR, "login", "user_id"))
    running.advance(END)

    (found,) = wrong(running)
    assert (found.rule, found.customer_id, found.at) == ("late_link", survivor, NOON + 3 * HOUR)
    assert len(commands(running)) == 1


def test_a_handover_that_repeats_tells_it_once() -> None:
    running = reminded()
    running.feed(ordered(NOON + 50 * MINUTE, name="bob"))
    running.advance(NOON + 3 * HOUR)
    running.feed(Merge("ann", "bob", NOON + 3 * HOUR, "login", "user_id"))
    (handover,) = [value for value in running.published("signals") if isinstance(value, Handover)]
    running.feed(handover, handover)
    running.advance(END)

    assert len(wrong(running)) == 1


def test_the_other_customers_earlier_purchase_is_no_fault() -> None:
    running = partition()
    running.feed(customer(), customer(name="bob"), ordered(NOON - DAY, name="bob"), abandoned())
    running.advance(NOON + 2 * HOUR)
    running.feed(Merge("bob", "ann", NOON + 2 * HOUR, "login", "user_id"))
    running.advance(END)

    assert wrong(running) == []


@pytest.mark.parametrize(
    ("known", "reach"),
    [
        ([], "anonymous"),
        ([customer(channels=[])], "unreachable"),
        ([customer(consent={})], "no_consent"),
        ([customer()], "reachable"),
    ],
)
def test_whether_a_shopper_could_be_reached_is_counted_on_entering(known: list[object], reach: str) -> None:
    running = partition()
    running.feed(*known, abandoned())  # type: ignore[arg-type]
    running.advance(END)

    assert [detail for kind, detail in running.outcomes if kind == "reach"] == [reach]

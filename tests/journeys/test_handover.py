from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from cartstream.events.records import ChannelFailed, Customer, Handover, Merge, ProductChange
from cartstream.events.times import DAY, HOUR, MINUTE
from cartstream.journeys import load_journeys
from cartstream.journeys.handover import join
from cartstream.journeys.state import Failed, Findings, JourneyState, copy_of, decode_state, waiting
from tests.detection.harness import END, Partition
from tests.detection.test_order_independence import Visit
from tests.journeys.story import (
    NOON,
    abandoned,
    browsed,
    cart,
    commands,
    customer,
    decisions,
    messages,
    ordered,
    partition,
    rules,
    signal,
)
from tests.journeys.test_order_independence import at_of, signals_of, stories

Story = tuple[list[Visit], list[Customer], list[ChannelFailed], list[int]]
EITHER = pytest.mark.parametrize(("loser", "survivor"), [("ann", "bob"), ("bob", "ann")])


def merge(loser: str, survivor: str, at: int) -> Merge:
    return Merge(loser, survivor, at, "event", "email")


def merged(loser: str, survivor: str, at: int, before: tuple[object, ...], after: tuple[object, ...] = ()) -> Partition:
    running = partition()
    running.feed(customer(), customer(name="bob"), *before)  # type: ignore[arg-type]
    running.advance(at)
    running.feed(merge(loser, survivor, at), *after)  # type: ignore[arg-type]
    running.advance(END)
    return running


@EITHER
def test_the_journey_goes_on_with_whoever_survives_and_repeats_no_step(loser: str, survivor: str) -> None:
    running = merged(loser, survivor, NOON + 2 * HOUR, (abandoned(),))

    assert messages(running) == [("cart_abandonment", "reminder", "email", 1), ("cart_abandonment", "offer", "push", 24)]
    assert [command.customer_id for command in commands(running)] == ["ann", survivor]


@EITHER
def test_what_a_waiting_message_is_about_goes_to_whoever_survives(loser: str, survivor: str) -> None:
    change, at_night = ProductChange("shoe", 8.0, 10.0, "EUR", "Boots"), NOON + 11 * HOUR
    back = signal("back_in_stock", at_night, episode=f"shoe:{at_night}", viewed=["shoe"], product=change)
    running = merged(loser, survivor, at_night + HOUR, (back,))

    (command,) = commands(running)
    assert (command.customer_id, command.journey, command.product) == (survivor, "back_in_stock", change)


@EITHER
def test_a_purchase_of_one_stops_the_journey_of_the_other(loser: str, survivor: str) -> None:
    running = merged(loser, survivor, NOON + 2 * HOUR, (abandoned(), ordered(NOON + 90 * MINUTE, name="bob")))

    assert [step for _, step, _, _ in messages(running)] == ["reminder"]
    assert rules(running, "stopped") == [("cart_abandonment", "purchase")]


@EITHER
def test_a_purchase_long_before_stops_nothing(loser: str, survivor: str) -> None:
    running = merged(loser, survivor, NOON + 2 * HOUR, (ordered(NOON - 30 * MINUTE, name="bob"), abandoned()))

    assert len(commands(running)) == 2


@EITHER
def test_an_entry_of_both_keeps_the_steps_done_by_either(loser: str, survivor: str) -> None:
    late = abandoned(name="bob")
    running = partition()
    running.feed(customer(), abandoned())
    running.advance(NOON + 2 * HOUR)
    running.feed(customer(name="bob"), late)
    running.feed(merge(loser, survivor, NOON + 2 * HOUR))
    running.advance(END)

    assert [step for _, step, _, _ in messages(running) if step == "offer"] == ["offer"]


@EITHER
def test_the_caps_of_both_count(loser: str, survivor: str) -> None:
    def willing(name: str) -> object:
        return customer(NOON - DAY, name, channels=["email"])

    two = (abandoned(), abandoned(NOON - HOUR, kind="checkout_abandoned", name="bob"))
    running = merged(
        loser,
        survivor,
        NOON + 5 * HOUR,
        (willing("ann"), willing("bob"), *two),
        (ordered(NOON + 6 * HOUR, name=survivor), abandoned(NOON + 7 * HOUR, name=survivor)),
    )

    assert [d.rule for d in decisions(running, "suppressed")][:1] == ["cap"]


@EITHER
def test_of_two_carts_the_newer_episode_counts(loser: str, survivor: str) -> None:
    running = merged(loser, survivor, NOON + 2 * HOUR, (abandoned(), abandoned(NOON + 20 * MINUTE, name="bob")))

    assert [c.cart for c in commands(running) if c.step == "offer"] == [cart(NOON + 20 * MINUTE)]
    assert rules(running, "stopped") == [("cart_abandonment", "newer_episode")]


@EITHER
def test_a_checkout_of_one_outranks_the_browsing_of_the_other(loser: str, survivor: str) -> None:
    running = merged(loser, survivor, NOON + HOUR, (browsed(), abandoned(kind="checkout_abandoned", name="bob")))

    assert rules(running, "stopped") == [("browse_abandonment", "outranked")]


@EITHER
def test_a_refusal_of_either_counts_until_identity_has_spoken(loser: str, survivor: str) -> None:
    refused = customer(NOON, "bob", consent={"email": False, "push": False, "sms": True})
    until_told = merged(loser, survivor, NOON + 2 * HOUR, (abandoned(), refused))
    told = merged(loser, survivor, NOON + 2 * HOUR, (abandoned(), refused), (customer(NOON + 2 * HOUR, survivor),))

    assert [channel for _, step, channel, _ in messages(until_told) if step == "offer"] == ["sms"]
    assert [channel for _, step, channel, _ in messages(told) if step == "offer"] == ["push"]


def test_what_comes_later_for_the_loser_goes_to_the_survivor() -> None:
    failed = ChannelFailed("ann", "email", "recipient_dead", NOON + MINUTE)
    running = merged("ann", "bob", NOON, (), (abandoned(), failed, customer(NOON + MINUTE, consent={})))

    assert messages(running)[0] == ("cart_abandonment", "reminder", "push", 1)
    assert {command.customer_id for command in commands(running)} == {"bob"}
    assert ("customer", "of_merged") in running.outcomes


def test_a_repeated_handover_changes_nothing() -> None:
    running = merged("ann", "bob", NOON + 2 * HOUR, (abandoned(),))
    sent = len(commands(running))
    (handover,) = [value for value in running.published("signals") if isinstance(value, Handover)]

    again = partition()
    again.feed(customer(name="bob"), handover, handover)
    again.advance(NOON + 30 * HOUR)
    again.feed(handover)
    again.advance(NOON + 40 * HOUR)

    assert len(commands(again)) == 1
    assert sent == 2


@pytest.mark.parametrize(
    ("one", "another", "kept"),
    [
        (Failed("recipient_dead", 1), Failed("recipient_dead", 2), Failed("recipient_dead", 2)),
        (Failed("opted_out", 1), Failed("recipient_dead", 2), Failed("opted_out", 1)),
        (Failed("opted_out", 2), Failed("opted_out", 1), Failed("opted_out", 2)),
    ],
)
def test_an_opt_out_of_either_stays_and_otherwise_the_later_failure_counts(one: Failed, another: Failed, kept: Failed) -> None:
    mine, other = JourneyState("ann", failed={"email": one}), JourneyState("bob", failed={"email": another})

    assert joined(mine, other).failed == joined(other, mine).failed == {"email": kept}


def test_the_survivors_waiting_records_all_stay_even_if_the_last_says_what_the_first_said() -> None:
    records = [waiting(customer(NOON + minute, "ann", consent={"email": minute != 1})) for minute in range(3)]

    assert joined(JourneyState("ann", records), JourneyState("bob")).pending == records


@settings(max_examples=40, deadline=None)
@given(one=stories, another=stories)
def test_joining_twice_is_joining_once(one: Story, another: Story) -> None:
    mine, other = state_after(one, "ann"), state_after(another, "bob")
    once = joined(mine, other)

    assert joined(once, other) == once


@settings(max_examples=40, deadline=None)
@given(one=stories, another=stories)
def test_either_may_survive(one: Story, another: Story) -> None:
    """But for the profile: identity speaks for the survivor alone."""
    mine, other = state_after(one, "ann"), state_after(another, "bob")

    assert but_for_the_survivor(joined(mine, other)) == but_for_the_survivor(joined(other, mine))


@pytest.mark.parametrize("parcel", [Handover("detection", "ann", "bob", 1, b""), Handover("journeys", "ann", "bob", 1, b"\xc1")])
def test_a_foreign_or_unreadable_handover_changes_nothing(parcel: Handover) -> None:
    running = partition()
    running.feed(parcel)

    assert running.states == {}


def test_a_state_written_by_an_older_version_still_decodes() -> None:
    assert decode_state(b"\x91\xa3ann") == JourneyState("ann")


def state_after(story: Story, name: str) -> JourneyState:
    """In the middle of the story, with some of it waiting."""
    plan, known, failed, exits = story
    told: list[Any] = [msgspec.structs.replace(signal, id=f"{name}-{signal.id}") for signal in signals_of(plan, exits)]
    records = [msgspec.structs.replace(record, customer_id=name) for record in sorted((*known, *failed, *told), key=at_of)]
    running = partition()
    running.feed(*records)
    running.advance(at_of(records[len(records) * 2 // 3]) if records else NOON)
    return decode_state(running.states[name]) if name in running.states else JourneyState(name)


def joined(mine: JourneyState, other: JourneyState) -> JourneyState:
    merged = Handover("journeys", other.customer_id, mine.customer_id, NOON, b"")
    return join(copy_of(mine), copy_of(other), merged, load_journeys(), Findings())


def but_for_the_survivor(state: JourneyState) -> JourneyState:
    pending = [msgspec.structs.replace(record, signal=None, failure=None) for record in state.pending if record.customer is None]
    return msgspec.structs.replace(state, customer_id="", profile=None, pending=pending)

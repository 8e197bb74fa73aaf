from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings

from cartstream.detection import DetectionStage
from cartstream.detection.handover import join
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import SIGNALLED_LIMIT, DetectionState, Signalled, decode_state
from cartstream.events.records import Activity, Customer, Handover, Merge
from cartstream.runtime.settings import load
from tests.detection.harness import END, Partition
from tests.detection.shopper import Shopper
from tests.detection.test_order_independence import Visit, shopper_of, visits


def partition() -> Partition:
    return Partition(DetectionStage(load(DetectionSettings)))


def merge(loser: str, survivor: str, at: int) -> Merge:
    return Merge(loser, survivor, at, "event", "email")


@pytest.mark.parametrize(("loser", "survivor"), [("ann", "bob"), ("bob", "ann")])
def test_after_a_merge_a_purchase_of_one_ends_the_abandonment_of_the_other(loser: str, survivor: str) -> None:
    left, buyer = Shopper("ann").visit(0, 10).add(5), Shopper("bob").visit(100, 110, orders=1).order(105)
    running = partition()
    running.feed(*left.activities)
    running.advance(left.time(60))
    running.feed(merge(loser, survivor, left.time(60)), *buyer.activities)
    running.advance(END)

    kinds = {(signal.kind, signal.customer_id) for signal in running.published("signals") if not isinstance(signal, Merge)}

    assert ("cart_abandoned", "ann") in kinds
    assert ("shopper_returned", survivor) in kinds
    assert ("cart_recovered", survivor) in kinds


def test_what_the_loser_was_told_is_not_said_again() -> None:
    left, other = Shopper("ann").visit(0, 10).add(5), Shopper("bob").visit(0, 12)
    running = partition()
    running.feed(*left.activities, *other.activities)
    running.advance(left.time(60))
    running.feed(merge("ann", "bob", left.time(60)))
    running.feed(Activity("joined", "cart_updated", "bob", left.time(60), left.time(12), cart=left.cart))
    running.advance(END)

    assert [signal.kind for signal in running.published("signals") if not isinstance(signal, Merge)] == ["cart_abandoned"]


def test_the_joined_cart_waits_for_the_handover_that_comes_later() -> None:
    left, other = Shopper("ann").visit(0, 10).add(5), Shopper("bob").visit(0, 12)
    running = partition()
    running.feed(*left.activities, *other.activities)
    running.advance(left.time(60))
    running.feed(Activity("joined", "cart_updated", "bob", left.time(60), left.time(12), cart=left.cart))
    running.advance(left.time(80))
    running.feed(merge("ann", "bob", left.time(60)))
    running.advance(END)

    assert [signal.kind for signal in running.published("signals") if not isinstance(signal, Merge)] == ["cart_abandoned"]


@pytest.mark.parametrize("known_until", [199, 20, 0])
def test_a_login_on_a_new_device_does_not_undo_what_came_due_before(known_until: int) -> None:
    """Read as it happened, or after an outage that began when so many minutes had passed."""
    left, stranger = Shopper("ann").visit(0, 10).add(5), Shopper("new").visit(200, 205)
    running = partition()
    running.feed(*left.activities)
    running.advance(left.time(known_until))
    running.feed(*stranger.activities, merge("new", "ann", left.time(203)))
    running.advance(END)

    signals = [(signal.kind, signal.at) for signal in running.published("signals") if not isinstance(signal, Merge)]
    assert ("cart_abandoned", left.time(40)) in signals
    assert [kind for kind, _ in signals].count("shopper_returned") == 1


def test_what_is_taken_back_is_taken_back_from_a_state_that_waits_too() -> None:
    shopper = Shopper("ann").visit(0, 10).add(5)
    wrong = next(activity for activity in shopper.activities if activity.kind == "cart_updated")
    running = partition()
    running.feed(*shopper.activities, merge("ann", "bob", shopper.time(8)))
    running.feed(msgspec.structs.replace(wrong, kind="retracted"))
    running.advance(END)

    assert [signal.kind for signal in running.published("signals") if not isinstance(signal, Merge)] == []


def test_records_of_a_merged_customer_go_on_to_the_survivor() -> None:
    shopper = Shopper("ann").visit(0, 10).add(5)
    running = partition()
    running.feed(merge("ann", "bob", shopper.time(0)), *shopper.activities)
    running.advance(shopper.end)

    (signal,) = [signal for signal in running.published("signals") if not isinstance(signal, Merge)]

    assert (signal.kind, signal.customer_id) == ("cart_abandoned", "bob")


def test_a_handover_for_a_merged_survivor_follows_it() -> None:
    shopper = Shopper("ann").visit(0, 10).add(5)
    running = partition()
    running.feed(*shopper.activities, merge("bob", "cid", shopper.time(1)), merge("ann", "bob", shopper.time(2)))
    running.advance(shopper.end)

    assert [signal.customer_id for signal in running.published("signals") if not isinstance(signal, Merge)] == ["cid"]


def test_a_merge_is_passed_on_once_and_repeats_change_nothing() -> None:
    running = partition()
    running.feed(merge("ann", "bob", 1), merge("ann", "bob", 1))

    assert running.published("signals") == [merge("ann", "bob", 1)]
    assert len(running.published("activity")) == 1


def test_customers_pass_through_unchanged() -> None:
    running = partition()
    running.feed(Customer("ann", 5, {"email": True}))

    assert running.published("signals") == [Customer("ann", 5, {"email": True})]
    assert running.states == {}


@pytest.mark.parametrize("parcel", [Handover("journeys", "ann", "bob", 1, b""), Handover("detection", "ann", "bob", 1, b"\xc1")])
def test_a_foreign_or_unreadable_handover_changes_nothing(parcel: Handover) -> None:
    running = partition()
    running.feed(parcel)

    assert running.states == {}
    assert running.outcomes[0][0] == "handover"


@settings(max_examples=40, deadline=None)
@given(one=visits, other=visits)
def test_joining_twice_is_joining_once(one: list[Visit], other: list[Visit]) -> None:
    mine, theirs = state_after(one), state_after(other)
    joined = join(mine, theirs, 7)

    assert join(joined, theirs, 7) == joined


@settings(max_examples=40, deadline=None)
@given(one=visits, other=visits)
@example(one=[(31, 1, "phone", [("add", 0.0)]), (31, 1, "phone", [])], other=[(31, 1, "phone", [("add", 1.0)]), (31, 1, "phone", [])])
def test_either_may_survive(one: list[Visit], other: list[Visit]) -> None:
    mine, theirs = state_after(one), state_after(other)

    assert join(mine, theirs, 7) == join(theirs, mine, 7)


def test_one_activity_told_with_two_carts_waits_with_the_later_one() -> None:
    older, newer = Shopper().add(1).activities[0], Shopper().add(1, "hat").add(2).activities[1]
    newer = msgspec.structs.replace(newer, id=older.id, at=older.at)
    mine, other = DetectionState("ann", [older]), DetectionState("bob", [newer])

    assert join(mine, other, 7).pending == join(other, mine, 7).pending == [newer]


def test_merges_forget_last_what_was_said_of_the_newest_cart() -> None:
    carts = [str(1_710_000_000_000 + number) for number in range(3 * SIGNALLED_LIMIT)]
    newest = Signalled("cart_abandoned", carts[-1])
    mine = DetectionState("ann", signalled=[*(Signalled("checkout_abandoned", cart) for cart in carts[: 2 * SIGNALLED_LIMIT - 1]), newest])
    other = DetectionState("bob", signalled=[Signalled("checkout_abandoned", cart) for cart in carts[2 * SIGNALLED_LIMIT - 1 : -1]])

    assert newest in join(mine, other, 7).signalled[-SIGNALLED_LIMIT:]


def test_a_state_written_by_an_older_version_still_decodes() -> None:
    assert decode_state(b"\x91\xa3ann") == DetectionState("ann")


def state_after(plan: list[Visit]) -> DetectionState:
    """In the middle of the story, with some of it waiting."""
    shopper, running = shopper_of(plan), partition()
    running.feed(*shopper.activities)
    times = sorted(activity.at for activity in shopper.activities)
    running.advance(times[len(times) * 2 // 3])
    return decode_state(running.states["ann"])

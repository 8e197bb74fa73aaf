"""What is signalled depends on event times alone: not on arrival order, not on how often a watermark comes."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cartstream.detection import DetectionStage
from cartstream.detection.settings import DetectionSettings
from cartstream.events.records import Activity, Signal
from cartstream.events.times import MINUTE
from cartstream.runtime.settings import load
from tests.detection.harness import END, Partition
from tests.detection.shopper import Shopper

Visit = tuple[int, int, str, list[tuple[str, float]]]
visits = st.lists(
    st.tuples(
        st.integers(31, 200),
        st.integers(1, 40),
        st.sampled_from(["phone", "laptop"]),
        st.lists(st.tuples(st.sampled_from(["add", "empty", "checkout", "order", "partial"]), st.floats(0, 1)), max_size=4),
    ),
    min_size=1,
    max_size=6,
)


def shopper_of(plan: list[Visit]) -> Shopper:
    """Sessions in a row, each at least 31 minutes after the end of the one before, in pairs of which the second overlaps."""
    shopper, begin = Shopper(), 0.0
    for gap, length, device, acts in plan:
        begin += gap
        shopper.visit(begin, begin + length, device=device, viewed=("hat",))
        if length > 20:
            shopper.visit(begin + 5, begin + length + 10, device=f"{device}-2")
        for act, share in sorted(acts, key=lambda act: act[1]):
            at = begin + share * length
            if act == "add":
                shopper.add(at, f"p{int(share * 7)}")
            elif act == "empty" and shopper.items:
                shopper.empty(at)
            elif act == "checkout":
                shopper.checkout(at)
            elif act == "order":
                shopper.order(at)
            elif act == "partial" and len(shopper.items) > 1:
                shopper.order(at, min(shopper.items))
        begin += length + 10
    return shopper


def run(arrivals: list[tuple[int, Activity]], every: int | None) -> list[Signal]:
    """`arrivals` are (arrival position, activity). The watermark keeps its promise; it comes every `every` ms, or once at the end."""
    partition = Partition(DetectionStage(load(DetectionSettings)))
    ordered = [activity for _, activity in sorted(arrivals, key=lambda arrival: arrival[0])]
    for index, activity in enumerate(ordered):
        partition.feed(activity)
        still_to_come = min((later.at for later in ordered[index + 1 :]), default=None)
        if every is not None and still_to_come is not None:
            target = still_to_come - 1
            while partition.watermark < 0 or target - partition.watermark > every:
                partition.advance(partition.watermark + every if partition.watermark > 0 else ordered[0].at - 500 * MINUTE)
            partition.advance(target)
    partition.advance(END)
    return sorted(partition.published("signals"), key=lambda signal: signal.id)


@settings(max_examples=60, deadline=None)
@given(plan=visits, jitter=st.lists(st.integers(0, 90), min_size=64, max_size=64), every=st.sampled_from([7, 33, 240]))
def test_arrival_order_and_watermarks_change_nothing(plan: list[Visit], jitter: list[int], every: int) -> None:
    activities = shopper_of(plan).activities
    in_order = [(activity.at, activity) for activity in activities]
    shuffled = [(activity.at + jitter[index % 64] * MINUTE, activity) for index, activity in enumerate(activities)]

    expected = run(in_order, every * MINUTE)

    assert run(in_order, None) == expected
    assert run(shuffled, None) == expected
    assert run(shuffled, every * MINUTE) == expected


@settings(max_examples=60, deadline=None)
@given(plan=visits, wrongly=st.lists(st.booleans(), min_size=64, max_size=64), every=st.sampled_from([7, 33, 240]))
def test_what_was_told_wrongly_before_the_watermark_leaves_no_trace(plan: list[Visit], wrongly: list[bool], every: int) -> None:
    activities = shopper_of(plan).activities
    arrivals = [(activity.at, activity) for activity in activities]
    corrected = []
    for (at, activity), wrong in zip(arrivals, wrongly, strict=False):
        if wrong and activity.kind in ("cart_updated", "cart_emptied", "checkout_started"):
            other = "cart_emptied" if activity.kind == "cart_updated" else "cart_updated"
            never = msgspec.structs.replace(activity, id=f"{activity.id}-never", kind=other)
            corrected += [(at, msgspec.structs.replace(activity, kind=other)), (at, never)]
            corrected += [(at, msgspec.structs.replace(never, kind="retracted", cart=None))]
        corrected.append((at, activity))

    assert run(corrected, every * MINUTE) == run(arrivals, every * MINUTE)


@settings(max_examples=60, deadline=None)
@given(plan=visits)
def test_an_episode_is_signalled_once_a_kind_and_never_down_the_ranks(plan: list[Visit]) -> None:
    shopper = shopper_of(plan)
    signals = run([(activity.at, activity) for activity in shopper.activities], None)
    abandoned = sorted((s for s in signals if s.kind in ("cart_abandoned", "checkout_abandoned")), key=lambda s: s.at)

    assert len({(signal.kind, signal.episode) for signal in abandoned}) == len(abandoned)
    for index, signal in enumerate(abandoned):
        assert signal.cart is not None
        assert signal.cart.items
        if signal.kind == "checkout_abandoned":
            assert all(later.episode != signal.episode for later in abandoned[index + 1 :])


@settings(max_examples=60, deadline=None)
@given(plan=visits)
def test_nobody_is_active_in_the_half_hour_before_an_abandonment(plan: list[Visit]) -> None:
    shopper = shopper_of(plan)
    visited = [(a.session.started_at, a.session.ended_at) for a in shopper.activities if a.kind == "session_ended" and a.session]
    for signal in run([(activity.at, activity) for activity in shopper.activities], None):
        if signal.kind.endswith("_abandoned"):
            assert not any(begin <= signal.at and end > signal.at - 30 * MINUTE for begin, end in visited)


def test_an_order_that_is_told_again_with_another_cart_is_one_order() -> None:
    shopper = Shopper().visit(0, 10).add(2, "shoe").add(3, "hat").order(5, "shoe")
    placed = shopper.activities[-1]
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*shopper.activities[:-1], msgspec.structs.replace(placed, cart=None), placed)
    partition.advance(END)

    signals = [(signal.kind, signal.cart) for signal in partition.published("signals")]
    assert signals == [("order_placed", None), ("cart_abandoned", placed.cart)]

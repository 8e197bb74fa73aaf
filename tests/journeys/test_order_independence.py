"""What is sent, and why not, depends on event times alone: not on arrival order, not on how often a watermark comes."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cartstream.detection import DetectionStage
from cartstream.detection.settings import DetectionSettings
from cartstream.events.records import ChannelFailed, Command, Customer, ProductChange, Signal
from cartstream.events.times import HOUR, MINUTE, EventTime
from cartstream.runtime.settings import load
from tests.detection.harness import END, Partition
from tests.detection.shopper import T0
from tests.detection.test_order_independence import Visit, shopper_of, visits
from tests.journeys.story import CHANNELS, customer, partition, signal

Arrival = tuple[EventTime, msgspec.Struct]

customers = st.lists(
    st.builds(
        lambda minutes, willing, reachable, zone: customer(
            T0 + minutes * MINUTE,
            consent={channel: channel in willing for channel in CHANNELS},
            channels=sorted(reachable),
            timezone=zone,
        ),
        st.integers(-600, 1_000),
        st.sets(st.sampled_from(CHANNELS), min_size=1),
        st.sets(st.sampled_from(CHANNELS), min_size=1),
        st.sampled_from([None, "Europe/Berlin", "America/New_York", "Nowhere/Else"]),
    ),
    max_size=5,
    unique_by=lambda record: record.at,
)
failures = st.lists(
    st.builds(
        lambda minutes, channel: ChannelFailed("ann", channel, "recipient_dead", T0 + minutes * MINUTE),
        st.integers(0, 1_000),
        st.sampled_from(CHANNELS),
    ),
    max_size=2,
)
PRODUCT_KINDS = ("price_dropped", "back_in_stock", "product_changed")
products = st.lists(
    st.tuples(st.integers(300, 1_000), st.sampled_from(PRODUCT_KINDS), st.sampled_from(["shoe", "hat"])),
    max_size=12,
    unique_by=lambda told: told[0],
)
stories = st.tuples(visits, customers, failures, st.lists(st.integers(0, 1_000), max_size=3))


def signals_of(plan: list[Visit], exits: list[int]) -> list[Signal]:
    shopper = shopper_of(plan)
    for index, minutes in enumerate(exits):
        shopper.leave(minutes + index / 7)
    detecting = Partition(DetectionStage(load(DetectionSettings)))
    detecting.feed(*sorted(shopper.activities, key=lambda activity: activity.at))
    detecting.advance(END)
    return sorted(detecting.published("signals"), key=lambda signal: (signal.at, signal.id))


def of_products(told: list[tuple[int, str, str]]) -> list[Signal]:
    """The price tells them apart."""
    return [
        signal(
            kind,
            T0 + minutes * MINUTE,
            episode=f"{product_id}:{minutes}",
            viewed=[product_id],
            product=ProductChange(product_id, float(number)),
        )
        for number, (minutes, kind, product_id) in enumerate(told)
    ]


def at_of(record: Any) -> EventTime:
    return int(record.at)


def run(arrivals: list[Arrival], every: int | None) -> list[tuple[str, str, bytes]]:
    """All that comes out, in an order of its own."""
    running = partition()
    ordered = [record for _, record in sorted(arrivals, key=lambda arrival: arrival[0])]
    for index, record in enumerate(ordered):
        running.feed(record)
        still_to_come = min((at_of(later) for later in ordered[index + 1 :]), default=None)
        if every is not None and still_to_come is not None:
            mark = max(running.watermark, T0 - 900 * MINUTE)
            while mark + every < still_to_come - 1:
                mark += every
                running.advance(mark)
            running.advance(still_to_come - 1)
    running.advance(END)
    return sorted(
        (output.topic, str(output.key), msgspec.json.encode(output.value))
        for output in running.outputs
        if isinstance(output.value, msgspec.Struct)
    )


@settings(max_examples=60, deadline=None)
@given(story=stories, every=st.sampled_from([11, 60, 700]))
def test_how_often_a_watermark_comes_changes_nothing(
    story: tuple[list[Visit], list[Customer], list[ChannelFailed], list[int]], every: int
) -> None:
    plan, known, failed, exits = story
    records: list[Arrival] = [(at_of(record), record) for record in (*known, *failed, *signals_of(plan, exits))]

    assert run(records, every * MINUTE) == run(records, None)


@settings(max_examples=60, deadline=None)
@given(story=stories, jitter=st.lists(st.integers(0, 180), min_size=97, max_size=97))
def test_arrival_order_changes_nothing_that_can_wait(
    story: tuple[list[Visit], list[Customer], list[ChannelFailed], list[int]], jitter: list[int]
) -> None:
    """An exit is answered on arrival, so by nature it may miss what arrives after it: it is left out here."""
    plan, known, failed, _ = story
    records: list[Arrival] = [(at_of(record), record) for record in (*known, *failed, *signals_of(plan, []))]
    shuffled = [(at + jitter[index % 97] * MINUTE, record) for index, (at, record) in enumerate(records)]

    expected = run(records, 30 * MINUTE)

    assert run(shuffled, None) == expected
    assert run(shuffled, 45 * MINUTE) == expected


@settings(max_examples=60, deadline=None)
@given(plan=visits, known=customers, told=products, jitter=st.lists(st.integers(0, 180), min_size=97, max_size=97))
def test_what_is_told_of_products_depends_on_event_times_alone(
    plan: list[Visit], known: list[Customer], told: list[tuple[int, str, str]], jitter: list[int]
) -> None:
    everything = (*known, *signals_of(plan, []), *of_products(told))
    records: list[Arrival] = [(at_of(record), record) for record in everything]
    shuffled = [(at + jitter[index % 97] * MINUTE, record) for index, (at, record) in enumerate(records)]

    assert run(shuffled, 45 * MINUTE) == run(records, 30 * MINUTE)


@settings(max_examples=60, deadline=None)
@given(plan=visits, told=products)
def test_no_message_says_of_a_product_what_holds_no_longer(plan: list[Visit], told: list[tuple[int, str, str]]) -> None:
    """It takes place at night, and only pushes can be sent: so all messages wait."""
    running, spoken = partition(), of_products(told)
    by_push = customer(T0 - 700 * MINUTE, channels=["push"])
    running.feed(*sorted((by_push, *signals_of(plan, []), *spoken), key=at_of))
    running.advance(END)

    for command in running.published("commands.push"):
        if command.product is not None:
            cause = spoken[int(command.product.price)]
            assert not [later for later in spoken if _takes_back(later, cause, command)]


def _takes_back(later: Signal, cause: Signal, command: Command) -> bool:
    about_it = later.product is not None and cause.product is not None and later.product.product_id == cause.product.product_id
    return later.kind == "product_changed" and about_it and cause.at < later.at <= command.at


@settings(max_examples=60, deadline=None)
@given(story=stories)
def test_no_message_follows_a_purchase_and_none_goes_where_it_may_not(
    story: tuple[list[Visit], list[Customer], list[ChannelFailed], list[int]],
) -> None:
    plan, known, failed, exits = story
    running = partition()
    signals = signals_of(plan, exits)
    running.feed(*sorted((*known, *failed, *signals), key=at_of))
    running.advance(END)
    orders = [signal.at for signal in signals if signal.kind == "order_placed"]

    sent = [command for channel in CHANNELS for command in running.published(f"commands.{channel}")]

    assert len({command.command_id for command in sent}) == len(sent)
    for command in sent:
        before = [record for record in sorted(known, key=at_of) if record.at <= command.at]
        assert before[-1].consent[command.channel]
        assert command.channel in before[-1].channels
        assert command.order_mark == max((at for at in orders if at <= command.at), default=0)
        if command.cart is not None and command.journey != "exit_intent":
            assert not any(command.cart.version < at <= command.at for at in orders)
        if command.channel == "sms":
            near = [other for other in sent if other.channel == "sms" and 0 <= command.at - other.at < 24 * HOUR]
            assert near == [command]

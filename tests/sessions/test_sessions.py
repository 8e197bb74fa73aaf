from __future__ import annotations

import orjson
import pytest

from cartstream.events.records import Customer, ExitHint, make_id
from tests.sessions.shop import MINUTE, T0, Shop, click, track

GAP = 30 * MINUTE
DAY = 24 * 60 * MINUTE


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0], [(0, 0, 1)]),
        ([0, GAP], [(0, GAP, 2)]),
        ([0, GAP + 1], [(0, 0, 1), (GAP + 1, GAP + 1, 1)]),
        ([0, GAP, 2 * GAP], [(0, 2 * GAP, 3)]),
        ([0, 0, 0], [(0, 0, 3)]),
        ([5, 3, 4], [(3, 5, 3)]),
        ([0, 2 * GAP, GAP], [(0, 2 * GAP, 3)]),
        ([2 * GAP, 0, GAP], [(0, 2 * GAP, 3)]),
        ([2 * GAP + 1, 0, GAP], [(0, GAP, 2), (2 * GAP + 1, 2 * GAP + 1, 1)]),
    ],
)
def test_where_sessions_begin_and_end(times: list[int], expected: list[tuple[int, int, int]]) -> None:
    shop = Shop().see(*(click("d1", at, message=str(n)) for n, at in enumerate(times))).end()
    assert shop.sessions() == expected


def test_a_session_ends_as_soon_as_the_watermark_has_passed_the_gap() -> None:
    shop = Shop().see(click("d1", 0)).pass_to(GAP - 1)
    assert "session_ended" not in shop.kinds

    (ended,) = shop.pass_to(GAP).of_kind("session_ended")
    assert (ended.at, ended.last_activity) == (T0 + GAP, T0)


def test_an_event_exactly_on_the_gap_still_belongs_when_time_has_not_passed_it() -> None:
    shop = Shop().see(click("d1", 0)).pass_to(GAP - 1).see(click("d1", GAP)).end()
    assert shop.sessions() == [(0, GAP, 2)]


def test_no_session_is_longer_than_a_day() -> None:
    times = range(0, DAY + 3 * GAP, GAP)
    shop = Shop().see(*(click("d1", at) for at in times)).end()

    assert shop.sessions() == [(0, DAY - GAP, 48), (DAY, DAY + 2 * GAP, 3)]
    assert [ended.at for ended in shop.of_kind("session_ended")] == [T0 + DAY, T0 + DAY + 3 * GAP]


def test_devices_have_sessions_of_their_own() -> None:
    shop = Shop().see(click("d1", 0), click("d2", 5), click("d1", 10)).end()
    assert shop.sessions() == [(0, 10, 2), (5, 5, 1)]
    assert [ended.last_activity for ended in shop.of_kind("session_ended")] == [T0 + 5, T0 + 10]


def test_a_late_event_neither_opens_nor_stretches_a_session() -> None:
    shop = Shop().see(click("d1", 0)).pass_to(3 * GAP).see(click("d1", GAP)).end()
    assert shop.sessions() == [(0, 0, 1)]
    assert ("record", "late") in shop.outcomes


def test_a_late_event_of_an_open_session_counts_in_it_and_keeps_its_id() -> None:
    shop = Shop().see(click("d1", GAP)).pass_to(GAP + 1).see(click("d1", 5)).end()
    (ended,) = shop.of_kind("session_ended")
    assert shop.sessions() == [(5, GAP, 2)]
    assert ended.session is not None
    assert ended.session.session_id == make_id("session", "d1", T0 + GAP)


def test_a_repeated_message_counts_once() -> None:
    event = click("d1", 0)
    shop = Shop().see(event, event, click("d1", 1), event).end()
    assert shop.sessions() == [(0, 1, 2)]
    assert shop.outcomes.count(("record", "duplicate")) == 2


def test_a_session_is_named_by_its_device_and_start() -> None:
    shop = Shop().see(click("d1", 7)).end()
    started, ended = shop.of_kind("session_started")[0], shop.of_kind("session_ended")[0]
    assert started.session is not None
    assert ended.session is not None
    assert started.session.session_id == ended.session.session_id == make_id("session", "d1", T0 + 7)
    assert (started.id, ended.id) == (f"{started.session.session_id}:started", f"{ended.session.session_id}:ended")


def test_a_session_that_began_earlier_than_told_is_told_again() -> None:
    shop = Shop().see(click("d1", 1), click("d1", 0)).end()
    names = [make_id("session", "d1", T0 + at) for at in (1, 0)]
    assert [(activity.at - T0, activity.id) for activity in shop.of_kind("session_started")] == [
        (1, f"{names[0]}:started"),
        (0, f"{names[1]}:started"),
    ]
    assert [activity.id for activity in shop.of_kind("session_ended")] == [f"{names[1]}:ended"]


def test_a_session_says_what_happened_in_it() -> None:
    shop = Shop().see(
        click("d1", 0),
        track("Product Viewed", 1, product_id="p1"),
        track("Product Viewed", 2, sku="p2"),
        track("Product Viewed", 3, product_id="p1"),
        track("Order Completed", 4, order_id="o1"),
        track("Something Else", 5),
    )
    (ended,) = shop.end().of_kind("session_ended")
    assert ended.session is not None
    assert (ended.session.events, ended.session.page_views, ended.session.orders, ended.session.viewed) == (6, 1, 1, ["p2", "p1"])


def test_only_the_last_products_looked_at_are_kept() -> None:
    shop = Shop().see(*(track("Product Viewed", n, product_id=f"p{n:02}") for n in range(30))).end()
    (ended,) = shop.of_kind("session_ended")
    assert ended.session is not None
    assert ended.session.viewed == [f"p{n}" for n in range(10, 30)]


def test_alias_and_group_are_no_activity() -> None:
    shop = Shop().see(click("d1", 0, "alias"), click("d1", 1, "group"))
    assert shop.kinds == []


def test_an_exit_hint_comes_with_its_session_and_cart() -> None:
    hint = track("Exit Intent", 5, trigger="pointer_top_exit", dwell_ms=9_000, scroll_pct=40.5)
    shop = Shop().see(track("Product Added", 0, product_id="p1", price=2.0), hint)
    (signal,) = shop.of_kind("exit_signal")
    assert signal.exit is not None
    assert (signal.exit.trigger, signal.exit.dwell_ms, signal.exit.scroll_pct) == ("pointer_top_exit", 9_000, 40.5)
    assert signal.cart is not None
    assert signal.session is not None


def test_an_exit_hint_says_on_what_kind_of_device_it_was_noticed_and_nothing_of_it_is_kept() -> None:
    hint = orjson.loads(track("Exit Intent", 5, trigger="idle"))
    with_device, without = (orjson.dumps(hint | {"context": context}) for context in ({"userAgent": "X Mobile"}, {}))
    told, silent = Shop().see(with_device), Shop().see(without)

    assert [shop.of_kind("exit_signal")[0].exit for shop in (told, silent)] == [ExitHint("idle", device="mobile"), ExitHint("idle")]
    assert told.states == silent.states


def test_a_late_exit_hint_is_no_signal() -> None:
    shop = Shop().pass_to(3 * GAP).see(track("Exit Intent", 0, trigger="idle"))
    assert shop.kinds == []


def test_a_checkout_is_told_once_until_the_order() -> None:
    names = ["Checkout Started", "Checkout Step Viewed", "Payment Info Entered", "Order Completed", "Checkout Started"]
    shop = Shop().see(*(track(name, n) for n, name in enumerate(names)))
    assert [kind for kind in shop.kinds if not kind.startswith("session")] == ["checkout_started", "order_placed", "checkout_started"]


def test_a_customer_record_is_passed_on_and_of_no_effect() -> None:
    record = Customer("c1", T0, {"email": True})
    shop = Shop().see(record)
    assert [output.value for output in shop.outputs] == [record]


def test_a_customer_who_is_silent_for_long_is_forgotten() -> None:
    shop = Shop().see(click("d1", 0)).pass_to(29 * DAY)
    assert shop.state() is not None
    assert shop.pass_to(30 * DAY).state() is None

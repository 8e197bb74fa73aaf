from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cartstream.events.records import ChannelFailed, Command, ProductChange, make_id
from cartstream.events.times import DAY, HOUR, MINUTE
from tests.journeys.story import (
    NOON,
    abandoned,
    browsed,
    cart,
    commands,
    customer,
    decisions,
    leaving,
    messages,
    ordered,
    rules,
    run,
    signal,
)

CART, CHECKOUT, BROWSE = "cart_abandonment", "checkout_abandonment", "browse_abandonment"


def test_an_abandoned_cart_is_reminded_after_an_hour_and_offered_a_code_after_a_day() -> None:
    running = run(customer(locale="de-DE"), abandoned())

    reminder, offer = commands(running)

    assert messages(running) == [(CART, "reminder", "email", 1), (CART, "offer", "push", 24)]
    assert reminder == Command(
        make_id("command", "ann", CART, str(NOON), "reminder"),
        "ann",
        "email",
        CART,
        "reminder",
        "cart_reminder",
        NOON + HOUR,
        NOON + 13 * HOUR,
        "cart",
        0,
        cart(),
        [],
        None,
        "de-DE",
        NOON + HOUR,
    )
    assert (offer.offer, offer.template) == ("COMEBACK10", "cart_offer")
    assert [decision.outcome for decision in decisions(running)] == ["entered", "sent", "sent", "finished"]
    assert decisions(running, "sent")[0].command_id == reminder.command_id


def test_a_started_checkout_has_its_own_words() -> None:
    running = run(customer(), abandoned(kind="checkout_abandoned"))

    assert [(c.journey, c.template) for c in commands(running)] == [(CHECKOUT, "checkout_reminder"), (CHECKOUT, "checkout_offer")]


def test_browsing_is_reminded_after_four_hours_with_what_was_looked_at() -> None:
    (command,) = commands(run(customer(), browsed()))

    assert (command.at, command.viewed, command.cart) == (NOON + 4 * HOUR, ["hat"], None)


@pytest.mark.parametrize(
    ("kind", "journey", "channel"), [("price_dropped", "price_drop", "email"), ("back_in_stock", "back_in_stock", "push")]
)
def test_what_became_of_a_product_is_told_at_once_and_once_with_all_that_is_known_of_it(kind: str, journey: str, channel: str) -> None:
    change = ProductChange("shoe", 8.0, 10.0, "EUR", "Boots")
    running = run(customer(), signal(kind, NOON, episode=f"shoe:{NOON}", viewed=["shoe"], product=change))

    (command,) = commands(running)
    assert messages(running) == [(journey, "alert", channel, 0)]
    assert (command.template, command.product, command.cart) == (journey, change, None)


@pytest.mark.parametrize(("product_id", "hours", "goes_out"), [("shoe", 3, False), ("hat", 3, True), ("shoe", 22, True)])
def test_a_message_that_waits_does_not_go_out_when_it_is_no_longer_true(product_id: str, hours: int, goes_out: bool) -> None:
    at_night = NOON + 11 * HOUR
    dropped = signal(
        "price_dropped", at_night, episode=f"shoe:{at_night}", viewed=["shoe"], product=ProductChange("shoe", 8.0, 10.0, "EUR")
    )
    later = at_night + hours * HOUR
    changed = signal("product_changed", later, episode=f"{product_id}:{later}", product=ProductChange(product_id, 9.0, 8.0, "EUR"))
    running = run(customer(channels=["push"]), dropped, changed)

    assert messages(running) == ([("price_drop", "alert", "push", 20)] if goes_out else [])
    assert rules(running, "stopped") == ([] if goes_out else [("price_drop", "product_changed")])


def test_what_became_of_a_product_is_not_told_to_who_has_bought_since() -> None:
    change = ProductChange("shoe", 8.0, 10.0, "EUR")
    at_night = NOON + 11 * HOUR
    only_push = customer(channels=["push"])
    dropped = signal("price_dropped", at_night, episode=f"shoe:{at_night}", cart=cart(), product=change)
    running = run(only_push, dropped, ordered(at_night + HOUR, "shoe"))

    assert messages(running) == []
    assert rules(running, "deferred", "stopped") == [("price_drop", "quiet_hours"), ("price_drop", "purchase")]


def test_an_exit_is_answered_on_arrival_without_any_watermark() -> None:
    running = run(customer(), leaving(), until=0)

    (command,) = commands(run(customer(NOON - HOUR), leaving(), until=0))

    assert messages(running) == [("exit_intent", "nudge", "push", 0)]
    assert (command.cause_at, command.expires_at, command.guard) == (NOON, NOON + 15 * MINUTE, "purchase")


def test_a_step_never_comes_before_its_signal() -> None:
    slow = signal("cart_abandoned", NOON + 3 * HOUR, last=NOON, episode=str(NOON), cart=cart())

    assert messages(run(customer(), slow))[0] == (CART, "reminder", "email", 3)


BETWEEN = NOON + 2 * HOUR
STOPS = {
    "purchase": ordered(BETWEEN),
    "a partial order": ordered(BETWEEN, "shoe", cart=cart(BETWEEN)),
    "cart_emptied": signal("cart_emptied", BETWEEN),
    "cart_changed": signal("cart_updated", BETWEEN, episode=str(BETWEEN), cart=cart(BETWEEN)),
    "consent_revoked": customer(BETWEEN, consent={"email": False, "sms": False, "push": False}),
    "erased": customer(BETWEEN, consent={}, channels=[], devices=[]),
    "outranked": abandoned(BETWEEN - 30 * MINUTE, "checkout_abandoned", version=NOON),
}


@pytest.mark.parametrize("why", STOPS)
def test_what_happens_after_the_reminder_stops_the_offer(why: str) -> None:
    running = run(customer(), abandoned(), STOPS[why])

    assert [step for journey, step, _, _ in messages(running) if journey == CART] == ["reminder"]
    assert rules(running, "stopped") == [(CART, "purchase" if why == "a partial order" else why)]


@pytest.mark.parametrize("why", ["purchase", "cart_emptied", "cart_changed", "consent_revoked", "erased"])
def test_what_happens_after_the_last_step_was_due_stops_nothing(why: str) -> None:
    later = msgspec.structs.replace(STOPS[why], at=NOON + 25 * HOUR)

    assert len(commands(run(customer(), abandoned(), later))) == 2


def test_an_older_cart_version_does_not_stop_a_newer_one() -> None:
    late = signal("cart_updated", BETWEEN, episode=str(NOON - 1), cart=cart(NOON - 1))

    assert len(commands(run(customer(), abandoned(), late))) == 2


def test_a_shopper_who_is_back_is_left_alone_until_idle_again() -> None:
    back = signal("shopper_returned", NOON + 50 * MINUTE, episode=str(NOON))
    idle = signal("shopper_idle", NOON + 130 * MINUTE, last=NOON + 100 * MINUTE, episode=str(NOON), cart=cart())
    running = run(customer(), abandoned(), back, idle)

    reminder, offer = messages(running)

    assert [(d.outcome, d.rule) for d in decisions(running, "held")] == [("held", "shopper_returned")]
    assert reminder[3] == pytest.approx((100 + 60) / 60)
    assert offer[3] == pytest.approx((100 + 24 * 60) / 60)


def test_a_step_done_before_the_return_is_not_done_again() -> None:
    back = signal("shopper_returned", NOON + 2 * HOUR, episode=str(NOON))
    idle = signal("shopper_idle", NOON + 3 * HOUR, last=NOON + 150 * MINUTE, episode=str(NOON), cart=cart())

    assert [(step, hours) for _, step, _, hours in messages(run(customer(), abandoned(), back, idle))] == [("reminder", 1), ("offer", 26.5)]


def test_who_came_back_and_was_never_idle_again_is_let_go() -> None:
    back = signal("shopper_returned", NOON + 2 * HOUR, episode=str(NOON))
    running = run(customer(), abandoned(), back)

    assert rules(running, "stopped") == [(CART, "held_too_long")]
    assert decisions(running, "stopped")[0].at == NOON + 2 * HOUR + 7 * DAY


def test_a_cart_stops_browsing_and_a_checkout_keeps_the_cart_out() -> None:
    running = run(customer(), browsed(NOON - HOUR), abandoned(kind="checkout_abandoned"), abandoned(NOON + HOUR, version=NOON + 1))

    assert rules(running, "stopped", "not_entered") == [(BROWSE, "outranked"), (CART, "outranked")]


def test_a_newer_episode_takes_the_place_of_the_older() -> None:
    running = run(customer(), browsed(), browsed(NOON + 2 * HOUR, "next", ("cap",)))

    assert [(c.at, c.viewed) for c in commands(running)] == [(NOON + 6 * HOUR, ["cap"])]
    assert rules(running, "stopped") == [(BROWSE, "newer_episode")]


def test_the_same_episode_is_entered_once() -> None:
    repeated = msgspec.structs.replace(abandoned(), id="again", at=NOON + 40 * MINUTE)
    running = run(customer(), abandoned(), repeated)

    assert len(commands(running)) == 2
    assert rules(running, "not_entered") == [(CART, "already_entered")]


def test_who_browsed_after_buying_lately_gets_nothing_and_learns_when() -> None:
    bought = NOON - 9 * DAY
    running = run(customer(NOON - 20 * DAY), ordered(bought), browsed())

    (refused,) = decisions(running, "not_entered")

    assert (refused.rule, refused.allowed_at) == ("no_order_within", bought + 10 * DAY)
    assert commands(running) == []


def test_browsing_is_answered_once_in_a_fortnight() -> None:
    first, second, third = browsed(), browsed(NOON + 10 * DAY, "b"), browsed(NOON + 15 * DAY, "c")
    running = run(customer(), first, second, third)

    assert [hours for *_, hours in messages(running)] == [4, 15 * 24 + 4]
    assert decisions(running, "not_entered")[0].allowed_at == NOON + 4 * HOUR + 14 * DAY


def test_what_was_bought_is_not_shown_again() -> None:
    running = run(customer(NOON - 30 * DAY), ordered(NOON - 12 * DAY, "hat"), browsed(viewed=("hat", "cap")))
    nothing = run(customer(NOON - 30 * DAY), ordered(NOON - 12 * DAY, "hat"), browsed(viewed=("hat",)))

    assert commands(running)[0].viewed == ["cap"]
    assert rules(nothing, "suppressed") == [(BROWSE, "already_bought")]


WILLING = {"email": True, "sms": True, "push": True}
REACH: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "push is next when there is no e-mail": ({"channels": ["push", "sms"]}, "push", None),
    "push is next when e-mail is refused": ({"consent": {**WILLING, "email": False}}, "push", None),
    "without a word there is no consent": ({"consent": {}}, None, "no_consent"),
    "nowhere to send to": ({"channels": []}, None, "unreachable"),
}


@pytest.mark.parametrize("case", REACH)
def test_the_first_channel_that_reaches_with_consent(case: str) -> None:
    fields, channel, rule = REACH[case]
    running = run(customer(**fields), abandoned(), until=NOON + HOUR)

    assert [c.channel for c in commands(running)] == ([channel] if channel else [])
    assert [d.rule for d in decisions(running, "suppressed")] == ([rule] if rule else [])


def test_of_whom_nothing_is_known_nothing_is_sent() -> None:
    assert rules(run(abandoned()), "suppressed") == [(CART, "unknown_customer")] * 2


def test_a_dead_address_is_passed_over_until_a_newer_customer_record_names_it() -> None:
    dead = ChannelFailed("ann", "email", "recipient_dead", NOON - MINUTE)
    renewed = customer(NOON + 2 * HOUR, channels=["email"])
    running = run(customer(), dead, abandoned(), renewed)

    assert [(step, channel) for _, step, channel, _ in messages(running)] == [("reminder", "push"), ("offer", "email")]


def test_an_opt_out_at_the_provider_stays() -> None:
    failures = [ChannelFailed("ann", channel, "opted_out", NOON - MINUTE) for channel in ("email", "sms", "push")]
    running = run(customer(), *failures, abandoned(), customer(NOON))

    assert rules(running, "suppressed") == [(CART, "channel_failed")] * 2


def test_a_dead_address_does_not_undo_an_opt_out() -> None:
    opted_out = [ChannelFailed("ann", channel, "opted_out", NOON - 2 * MINUTE) for channel in ("email", "sms", "push")]
    dead = [ChannelFailed("ann", channel, "recipient_dead", NOON - MINUTE) for channel in ("email", "sms", "push")]
    running = run(customer(), *opted_out, *dead, abandoned(), customer(NOON))

    assert rules(running, "suppressed") == [(CART, "channel_failed")] * 2


def test_a_revocation_counts_from_its_own_time() -> None:
    revoked = customer(NOON + HOUR, consent={**WILLING, "email": False})
    in_time = run(customer(), abandoned(), revoked)
    too_late = run(customer(), abandoned(), msgspec.structs.replace(revoked, at=NOON + HOUR + 1))

    assert commands(in_time)[0].channel == "push"
    assert commands(too_late)[0].channel == "email"


def test_a_command_knows_the_last_order_before_it() -> None:
    running = run(customer(NOON - DAY), ordered(NOON - 5 * HOUR), abandoned())

    assert {command.order_mark for command in commands(running)} == {NOON - 5 * HOUR}


def test_a_purchase_after_the_last_activity_keeps_the_journey_shut() -> None:
    running = run(customer(), ordered(NOON + 10 * MINUTE), abandoned())

    assert rules(running, "not_entered") == [(CART, "purchase")]


def test_an_exit_uses_what_happened_before_it_even_if_the_watermark_lags() -> None:
    refused = customer(NOON - MINUTE, consent={"push": False, "sms": True})
    running = run(customer(), refused, leaving(), until=0)

    assert [channel for _, _, channel, _ in messages(running)] == ["sms"]


def test_a_silent_customer_is_forgotten_after_ninety_days() -> None:
    running = run(customer(), abandoned(), until=NOON + 24 * HOUR + 90 * DAY - 1)
    assert list(running.states) == ["ann"]
    running.advance(NOON + 24 * HOUR + 90 * DAY)
    assert running.states == {}

from __future__ import annotations

from random import Random

import pytest

from cartstream.demo.kinds import EVERYTHING, NOTHING
from cartstream.demo.promises import Unclear, promised
from cartstream.demo.story import Story
from cartstream.events.times import HOUR, iso
from tests.demo.tales import TEN, due, person, tale, told

CART_REMINDER = ("cart_abandonment", "reminder", "email")
CART_OFFER = ("cart_abandonment", "offer", "push")


def test_who_leaves_a_cart_is_reminded_after_an_hour_and_offered_something_after_a_day() -> None:
    story = tale("email", "push").add(2)

    assert told(story) == [CART_REMINDER, CART_OFFER]
    assert due(story) == [1.0, 24.0]


def test_a_checkout_that_was_begun_has_a_journey_of_its_own() -> None:
    assert told(tale("email").add().check_out()) == [
        ("checkout_abandonment", "reminder", "email"),
        ("checkout_abandonment", "offer", "email"),
    ]


def test_who_only_looks_hears_after_four_hours_by_email_or_push_but_never_by_sms() -> None:
    story = tale("email").browse()

    assert told(story) == [("browse_abandonment", "reminder", "email")]
    assert due(story) == [4.0]
    assert told(tale("sms").browse()) == []


def test_who_looks_at_pages_without_products_hears_nothing() -> None:
    assert told(tale("email").browse(0)) == []


def test_who_buys_before_the_reminder_hears_nothing_whatever_device_they_buy_on() -> None:
    assert told(tale("email", "push").add().wait(20, 40).on("phone").browse(1).sign_in({}).buy()) == []


def test_who_buys_between_reminder_and_offer_gets_no_offer() -> None:
    assert told(tale("email", "push").add().wait(120, 300).buy()) == [CART_REMINDER]


def test_an_exit_with_consent_is_answered_at_once() -> None:
    story = tale("sms").browse(0).leave().wait(5, 10).browse(0)
    (nudge,) = promised(story, HOUR // 100)

    assert (nudge.journey, nudge.channel, nudge.due, nudge.cause) == ("exit_intent", "sms", story.acts[-2].at, story.acts[-2].message_id)


def test_a_pointer_that_leaves_says_enough_only_with_a_cart() -> None:
    assert told(tale("push").browse(0).leave("pointer_top_exit")) == []
    assert told(tale("push").add().leave("pointer_top_exit"))[0] == ("exit_intent", "nudge", "push")


def test_an_exit_after_buying_is_not_answered() -> None:
    assert told(tale("push").add().buy().leave()) == []


def test_without_consent_there_is_nothing() -> None:
    anonymous = Story(person("email", "push"), Random(1), TEN).on("laptop").add().leave()
    silent = Story(person("email", "push"), Random(1), TEN).on("laptop").sign_in({}).add().leave()

    assert told(anonymous) == told(silent) == []


def test_consent_that_is_revoked_ends_what_was_still_to_come() -> None:
    assert told(tale("email", "push").add().wait(120, 300).sign_in(NOTHING)) == [CART_REMINDER]
    assert told(tale("email", "push").add().wait(35, 45).sign_in(NOTHING)) == []


def test_consent_revoked_for_one_channel_leaves_the_others() -> None:
    assert told(tale("email", "push").add().wait(120, 300).sign_in({"push": False})) == [
        CART_REMINDER,
        ("cart_abandonment", "offer", "email"),
    ]


def test_emptying_the_cart_is_not_abandoning_it() -> None:
    assert told(tale("email").add(2).empty()) == []
    assert told(tale("email").browse(1).add(2).empty()) == [("browse_abandonment", "reminder", "email")]
    assert told(tale("email", "push").add(2).wait(120, 300).empty()) == [CART_REMINDER]


def test_a_changed_cart_begins_anew_and_the_delays_count_from_the_change() -> None:
    before = tale("email", "push").add().wait(35, 50).add()
    after = tale("email", "push").add().wait(120, 300).add()

    assert told(before) == [CART_REMINDER, CART_OFFER]
    assert due(before) == [1.0, 24.0]
    assert told(after) == [CART_REMINDER, CART_REMINDER, CART_OFFER]


def test_who_comes_back_and_changes_nothing_is_offered_something_a_day_after_that() -> None:
    story = tale("email", "push").add().wait(120, 300).on("phone").browse(1).sign_in({})

    assert told(story) == [CART_REMINDER, CART_OFFER]
    assert due(story)[1] == 24.0


def test_who_comes_back_before_the_reminder_is_reminded_an_hour_after_leaving_again() -> None:
    story = tale("email").add().wait(35, 50).browse(0)

    assert due(story)[0] == 1.0


def test_a_checkout_begun_on_the_way_back_takes_over() -> None:
    assert told(tale("email", "push").add().wait(120, 300).check_out()) == [
        CART_REMINDER,
        ("checkout_abandonment", "reminder", "email"),
        ("checkout_abandonment", "offer", "push"),
    ]


def test_sms_waits_for_the_morning_where_the_shopper_lives() -> None:
    (reminder, *_) = promised(tale("sms", timezone="Pacific/Noumea").add(), 0)

    assert iso(reminder.due) == "2024-03-05T21:00:00.000Z"


def test_email_does_not_wait() -> None:
    assert due(tale("email", timezone="Pacific/Noumea").add())[0] == 1.0


def test_nobody_is_nudged_in_quiet_hours() -> None:
    assert told(tale("sms", timezone="Pacific/Noumea").browse(0).leave()) == []


def test_one_sms_a_day_and_two_emails() -> None:
    often = tale("email")
    for _ in range(3):
        often.add().wait(150, 170)
    often.browse(0)

    assert told(tale("sms").add()) == [("cart_abandonment", "reminder", "sms")]
    assert [step for _, step, _ in told(often)] == ["reminder", "reminder", "offer"]


def test_an_act_too_soon_after_a_message_makes_a_story_unclear() -> None:
    story = tale("email").add().wait(60, 61).buy()

    with pytest.raises(Unclear):
        promised(story, HOUR)


def test_a_device_nobody_signs_in_on_says_nothing_of_its_owner() -> None:
    story = tale("email", "push").add().wait(20, 30).on("tablet").add().buy()

    assert told(story) == [CART_REMINDER, CART_OFFER]


def test_devices_tell_who_is_there_from_their_sign_in_on() -> None:
    story = Story(person("email"), Random(1), TEN).on("laptop").browse(1).sign_in(EVERYTHING).browse(1)

    assert [b'"userId"' in record.value for record in story.events()] == [False, False, True, True, True]

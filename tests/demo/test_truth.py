from __future__ import annotations

from cartstream.demo.promises import Expected
from cartstream.demo.shoppers import Purchase
from cartstream.demo.truth import BAND_SECONDS, Message, Times, Verdict, judge, percentile
from cartstream.events.times import HOUR, MINUTE, EventTime
from tests.demo.tales import TEN, expected

SPEED = 1_000
TO = "shopper7@example.test"
BAND_MS = round(BAND_SECONDS * 1000)


def real(at: EventTime) -> int:
    return (at - TEN) // SPEED


def got(n: int, at_ms: int, command: str = "c1", journey: str = "cart_abandonment", step: str = "reminder", to: str = TO) -> Message:
    return Message(n, "email", to, at_ms, command, journey, step)


def verdict(promises: list[Expected], messages: list[Message], purchases: list[Purchase] | None = None) -> Verdict:
    produced = {purchase.message_id: real(purchase.at) for purchase in purchases or []}
    return judge(promises, messages, {TO: purchases or []}, Times(real, {**produced, "exit": 100}))


def test_what_came_as_promised_is_good() -> None:
    found = verdict([expected()], [got(1, 200)])

    assert found.good
    assert found.expected == 1


def test_what_never_came_is_missed() -> None:
    assert verdict([expected()], []).missed == [expected()]


def test_what_nobody_promised_is_wrong() -> None:
    for message in (got(1, 200, journey="exit_intent"), got(1, 200, to="other@example.test"), got(1, 200, step="offer")):
        found = verdict([expected()], [got(9, 300, "c9"), message])

        assert found.wrong == [message]
        assert not found.good


def test_what_comes_before_its_time_is_wrong() -> None:
    assert len(verdict([expected(at=TEN + HOUR)], [got(1, real(TEN + HOUR) - 100)]).wrong) == 1


def test_the_same_command_twice_or_the_same_message_once_more_than_promised_is_sent_twice() -> None:
    assert len(verdict([expected()], [got(1, 200), got(2, 300)]).sent_twice) == 1
    assert len(verdict([expected()], [got(1, 200), got(2, 300, "c2")]).sent_twice) == 1


def test_two_episodes_may_have_the_same_message_each() -> None:
    assert verdict([expected(), expected(at=TEN + HOUR)], [got(1, 200), got(2, real(TEN + HOUR) + 5, "c2")]).good


def test_a_repeated_command_does_not_stand_for_a_second_episode() -> None:
    found = verdict([expected(), expected(at=TEN + HOUR)], [got(1, 200), got(2, real(TEN + HOUR) + 5)])

    assert (len(found.sent_twice), len(found.missed)) == (1, 1)


def test_a_message_after_the_purchase_counts_beyond_the_guard_band() -> None:
    bought = Purchase("order", TEN + MINUTE, None)

    assert verdict([expected()], [got(1, real(bought.at) + BAND_MS)], [bought]).good
    assert len(verdict([expected()], [got(1, real(bought.at) + BAND_MS + 1)], [bought]).sent_after_purchase) == 1


def test_a_message_about_what_was_done_after_the_purchase_is_none_after_it() -> None:
    bought = Purchase("order", TEN, TEN + HOUR)

    assert verdict([expected(at=TEN + 2 * HOUR)], [got(1, real(TEN + 2 * HOUR) + 5)], [bought]).good


def test_an_unpromised_message_counts_as_after_the_purchase_until_the_shopper_does_something_else() -> None:
    bought = Purchase("order", TEN, TEN + 2 * HOUR)
    soon, later = got(1, real(TEN + HOUR), "a"), got(2, real(TEN + 3 * HOUR), "b")

    assert verdict([], [soon, later], [bought]).sent_after_purchase == [soon]


def test_latency_is_from_the_exit_to_the_provider() -> None:
    promise = expected("exit_intent", "nudge", cause="exit")

    assert verdict([promise], [got(1, 180, journey="exit_intent", step="nudge")]).latencies_ms == [80]


def test_percentiles_are_ranks() -> None:
    assert percentile([], 0.5) is None
    assert percentile(list(range(100)), 0.5) == 50
    assert percentile([3, 1, 2], 0.99) == 3

from __future__ import annotations

from cartstream.insights.report import as_json, figures, report
from cartstream.insights.tally import Measure

COUNTED: list[tuple[Measure, float, int]] = [
    (("signal", "cart_abandoned"), 0.0, 7),
    (("command", "email", "cart_abandonment", "reminder"), 0.0, 6),
    (("command", "email", "cart_abandonment", "offer"), 3600.0, 2),
    (("command", "push", "exit_intent", "nudge"), 3600.0, 4),
    (("delivery", "email", "cart_abandonment", "accepted"), 3600.0, 6),
    (("delivery", "email", "cart_abandonment", "suppressed"), 3600.0, 2),
    (("delivery", "push", "exit_intent", "accepted"), 3600.0, 3),
]


def test_totals_are_by_channel_and_journey_with_rates_per_command() -> None:
    totals = report(COUNTED, {0}).totals

    assert (totals.commands, totals.signals, totals.deliveries) == (12, {"cart_abandoned": 7}, {"accepted": 9, "suppressed": 2})
    assert totals.rates["accepted"] == 0.75
    email = totals.channels["email"]
    assert (email.commands, email.steps) == (8, {"reminder": 6, "offer": 2})
    assert email.journeys["cart_abandonment"].rates == {"accepted": 0.75, "suppressed": 0.25}
    assert totals.channels["push"].rates == {"accepted": 0.75}


def test_windows_come_newest_first_and_no_more_than_asked_for() -> None:
    both, newest, none = (report(COUNTED, {0}, hours).windows for hours in (24, 1, 0))

    assert [window.start for window in both] == ["1970-01-01T01:00:00.000Z", "1970-01-01T00:00:00.000Z"]
    assert [(window.end, window.figures.commands) for window in newest] == [("1970-01-01T02:00:00.000Z", 6)]
    assert none == []


def test_the_same_measure_of_two_partitions_adds_up() -> None:
    assert figures([(("signal", "exit_intent"), 2), (("signal", "exit_intent"), 3)]).signals == {"exit_intent": 5}


def test_without_commands_there_is_no_rate() -> None:
    assert figures([(("delivery", "sms", "exit_intent", "accepted"), 1)]).channels["sms"].rates == {}


def test_the_answer_is_plain_json() -> None:
    answer = as_json(report(COUNTED, {3, 1}))

    assert answer["partitions"] == [1, 3]
    assert answer["totals"]["channels"]["push"]["journeys"]["exit_intent"]["commands"] == 4

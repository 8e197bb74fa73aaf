from __future__ import annotations

from cartstream.events.times import HOUR, MINUTE
from cartstream.journeys import Journeys
from cartstream.journeys.loading import read_journeys
from tests.journeys.story import NOON, abandoned, commands, customer, decisions, leaving, messages, run

TEXT = """
channels:
  email:
    cap: {{limit: 1, per: 6h, policy: {policy}}}
journeys:
  - name: cart
    trigger: cart_abandoned
    holdout_percent: {holdout}
    defer_at_most: {patience}
    steps:
      - {{name: first, after: 1h, channels: [email], template: t}}
      - {{name: second, after: {second}, channels: [email], template: t}}
"""


def journeys(policy: str = "drop", holdout: float = 0, patience: str = "24h", second: str = "3h") -> Journeys:
    return read_journeys(TEXT.format(policy=policy, holdout=holdout, patience=patience, second=second), "caps.yaml")


def test_a_message_over_the_cap_is_dropped_and_says_when_it_would_be_allowed() -> None:
    running = run(customer(), abandoned(), journeys=journeys())

    (suppressed,) = decisions(running, "suppressed")

    assert [c.step for c in commands(running)] == ["first"]
    assert (suppressed.step, suppressed.rule, suppressed.channel) == ("second", "cap", "email")
    assert suppressed.allowed_at == NOON + 7 * HOUR
    assert suppressed.inputs == {"sent_in_window": "1", "limit": "1", "window_s": "21600"}


def test_or_deferred_until_the_window_has_room() -> None:
    running = run(customer(), abandoned(), journeys=journeys("defer"))

    assert [(c.step, c.at) for c in commands(running)] == [("first", NOON + HOUR), ("second", NOON + 7 * HOUR)]
    assert decisions(running, "deferred")[0].at == NOON + 3 * HOUR


def test_but_not_for_longer_than_the_journey_waits() -> None:
    running = run(customer(), abandoned(), journeys=journeys("defer", patience="2h"))

    (suppressed,) = decisions(running, "suppressed")

    assert suppressed.inputs["not_deferred"] == "longer than defer_at_most"


def test_a_deferred_step_that_the_next_would_overtake_is_dropped() -> None:
    older = abandoned(NOON - HOUR)
    running = run(customer(NOON - 3 * HOUR), older, abandoned(NOON + 90 * MINUTE), journeys=journeys("defer"))

    reasons = [d.inputs.get("not_deferred") for d in decisions(running, "suppressed")]

    assert reasons == ["overtaken by the next step"]
    assert [c.at for c in commands(running)] == [NOON, NOON + 6 * HOUR]


def test_the_window_is_rolling_and_its_far_end_is_open() -> None:
    running = run(customer(), abandoned(), journeys=journeys(second="7h"))

    assert len(commands(running)) == 2


def test_caps_count_over_all_journeys_of_a_channel() -> None:
    exits = [leaving(NOON + minute * MINUTE, f"visit{minute}") for minute in range(5)]
    running = run(customer(), *exits, until=0)

    assert [step for _, step, _, _ in messages(running)] == ["nudge"] * 3
    assert [d.allowed_at for d in decisions(running, "suppressed")] == [NOON + 24 * HOUR] * 2


def test_a_held_out_customer_is_always_the_same() -> None:
    names = [f"c{number}" for number in range(400)]
    held = {name for name in names if _held(name, 25)}

    assert held == {name for name in names if _held(name, 25)}
    assert 70 < len(held) < 130
    assert held <= {name for name in names if _held(name, 50)}
    assert not any(_held(name, 0) for name in names[:20])
    assert all(_held(name, 100) for name in names[:20])


def _held(name: str, percent: float) -> bool:
    running = run(customer(name=name), abandoned(name=name), journeys=journeys(holdout=percent), until=NOON + HOUR)
    refused = decisions(running, "not_entered")
    assert len(commands(running)) == 1 - len(refused)
    return [d.rule for d in refused] == ["holdout"]


def test_a_message_sent_later_does_not_use_up_the_cap_of_an_earlier_one() -> None:
    exits = [leaving(NOON + 90 * MINUTE + minute, f"visit{minute}") for minute in range(3)]
    running = run(customer(channels=["push"]), *exits, abandoned(), until=NOON + 2 * HOUR)

    assert ("cart_abandonment", "reminder", "push", 1) in messages(running)

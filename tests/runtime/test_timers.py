from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cartstream.runtime.timers import Timers


def test_timers_pop_in_order_of_due_time_up_to_the_watermark() -> None:
    timers = Timers({"late": 30, "early": 10})
    timers.want("middle", 20)

    assert list(timers.pop_due(25)) == [(10, "early"), (20, "middle")]
    assert timers.take_changes() == {"early": None, "middle": None}
    assert len(timers) == 1


def test_an_earlier_wish_replaces_a_later_one_at_once() -> None:
    timers = Timers({})
    timers.want("a", 30)
    timers.want("a", 10)

    assert timers.take_changes() == {"a": 10}
    assert list(timers.pop_due(100)) == [(10, "a")]


def test_a_later_wish_waits_until_the_earlier_pops() -> None:
    timers = Timers({"a": 10})
    timers.want("a", 30)

    assert timers.take_changes() == {}
    popped = []
    for at, key in timers.pop_due(50):
        popped.append((at, key))
        if at == 10:
            timers.want("a", 30)
    assert popped == [(10, "a"), (30, "a")]


def test_a_wake_up_asked_for_while_others_pop_comes_in_its_turn() -> None:
    timers = Timers({"a": 10, "c": 30})
    popped = []
    for at, key in timers.pop_due(100):
        popped.append((at, key))
        if key == "a":
            timers.want("b", 20)
    assert popped == [(10, "a"), (20, "b"), (30, "c")]


def test_a_cancelled_timer_never_pops() -> None:
    timers = Timers({"a": 10, "b": 20})
    timers.cancel("a")
    timers.cancel("nobody")

    assert timers.take_changes() == {"a": None}
    assert list(timers.pop_due(100)) == [(20, "b")]


def test_looking_ahead_changes_nothing() -> None:
    timers = Timers({"a": 10, "b": 20, "c": 30})

    assert sorted(timers.due_by(20)) == ["a", "b"]
    assert timers.take_changes() == {}
    assert list(timers.pop_due(20)) == [(10, "a"), (20, "b")]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 50))), max_size=40), st.integers(0, 50))
def test_what_is_persisted_is_what_is_armed(acts: list[tuple[str, int | None]], watermark: int) -> None:
    timers = Timers({})
    stored: dict[str, int] = {}
    for key, at in acts:
        if at is None:
            timers.cancel(key)
        else:
            timers.want(key, at)
    popped = list(timers.pop_due(watermark))
    for key, due in timers.take_changes().items():
        if due is None:
            stored.pop(key, None)
        else:
            stored[key] = due

    assert popped == sorted(popped)
    assert all(at <= watermark for at, _ in popped)
    assert len(stored) == len(timers)
    assert list(Timers(stored).pop_due(100)) == list(timers.pop_due(100))


def test_what_was_wanted_or_given_up_meanwhile_is_newer_than_what_the_store_tells() -> None:
    timers = Timers({"early": 10}, 10)
    timers.want("moved", 15)
    timers.cancel("gone")
    assert (timers.knows(10), timers.knows(11)) == (True, False)
    assert timers.take_changes() == {"moved": 15, "gone": None}

    timers.learn({"moved": 90, "late": 80}, None)
    assert timers.knows(10**18)
    assert list(timers.pop_due(100)) == [(10, "early"), (15, "moved"), (80, "late")]

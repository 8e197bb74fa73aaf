from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cartstream.runtime.timers import Timers


def test_timers_pop_in_order_of_due_time_up_to_the_watermark() -> None:
    timers = Timers({"late": 30, "early": 10})
    timers.want("middle", 20)

    assert list(timers.pop_due(25)) == [(10, "early"), (20, "middle")]
    assert timers.take_new() == []
    assert len(timers) == 1


def test_an_earlier_wish_comes_before_a_later_one_at_once() -> None:
    timers = Timers({})
    timers.want("a", 30)
    timers.want("a", 10)

    assert timers.armed("a") == 10
    assert timers.take_new() == [("a", 30), ("a", 10)]
    assert list(timers.pop_due(29)) == [(10, "a")]


def test_what_an_earlier_wish_came_before_is_armed_again_and_not_written_again() -> None:
    timers = Timers({"a": 30})
    timers.want("a", 10)
    assert timers.take_new() == [("a", 10)]

    for _ in timers.pop_due(20):
        timers.want("a", 40)

    assert timers.armed("a") == 30
    assert timers.take_new() == []


def test_what_popped_meanwhile_is_not_written() -> None:
    timers = Timers({})
    timers.want("a", 30)
    timers.want("a", 10)
    list(timers.pop_due(20))

    assert timers.take_new() == [("a", 30)]


def test_a_later_wish_waits_until_the_earlier_pops() -> None:
    timers = Timers({"a": 10})
    timers.want("a", 30)

    assert timers.take_new() == []
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
    timers.want("a", 5)
    timers.cancel("a")
    timers.cancel("nobody")

    assert list(timers.pop_due(100)) == [(20, "b")]


def test_looking_ahead_changes_nothing() -> None:
    timers = Timers({"a": 10, "b": 20, "c": 30})
    timers.want("b", 15)

    assert sorted(timers.look_ahead(15)) == ["a", "b"]
    assert timers.look_ahead(40) == ["c"]
    timers.look_back()
    assert list(timers.pop_due(15)) == [(10, "a"), (15, "b")]
    assert list(timers.pop_due(30)) == [(20, "b"), (30, "c")]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 50))), max_size=40), st.integers(0, 50))
def test_every_timer_is_in_the_store_and_a_new_owner_wakes_each_in_time(acts: list[tuple[str, int | None]], watermark: int) -> None:
    timers = Timers({})
    stored: list[tuple[str, int]] = []
    popped = []
    for number, (key, at) in enumerate(acts):
        if at is None:
            timers.cancel(key)
        else:
            timers.want(key, at)
        if number % 5 == 4:
            popped = list(timers.pop_due(watermark))
            stored += timers.take_new()
    stored += timers.take_new()

    assert popped == sorted(popped)
    assert all(at <= watermark for at, _ in popped)
    armed = {key: at for key in "abc" if (at := timers.armed(key)) is not None}
    assert set(armed.items()) <= set(stored)
    after: list[tuple[int, str]] = list(timers.pop_due(100))
    assert {key for _, key in after} == armed.keys()


def test_what_was_wanted_or_given_up_meanwhile_is_newer_than_what_the_store_tells() -> None:
    timers = Timers({"early": 10}, 10)
    timers.want("moved", 15)
    timers.cancel("gone")
    assert (timers.knows(10), timers.knows(11)) == (True, False)
    assert timers.take_new() == [("moved", 15)]

    timers.learn({"moved": 90, "late": 80}, None)
    assert timers.knows(10**18)
    assert timers.armed("moved") == 15
    assert list(timers.pop_due(100)) == [(10, "early"), (15, "moved"), (80, "late"), (90, "moved")]

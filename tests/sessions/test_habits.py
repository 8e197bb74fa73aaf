"""Windows that roll on beside the sessions: what they hold, that they are bounded, and that order and merges do not matter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartstream.events import records
from cartstream.events.times import DAY, HOUR
from cartstream.sessions import habits
from cartstream.sessions.habits import HOURS_LIMIT, HOURS_WINDOW, VIEWS_WINDOW, Habits
from cartstream.sessions.state import SEARCHES_LIMIT, VIEWED_LIMIT, VIEWS_LIMIT, last_searches
from cartstream.sessions.views import View, newest
from tests.sessions.shop import MINUTE, T0, Merge, Shop, click, track

GAP = 30 * MINUTE
T0_HOUR = T0 // HOUR % 24
MERGE = Merge("old", "new", T0 + 50, "m1", "user_id")


def view(product: str, at: int, price: float | None = None, currency: str | None = None) -> bytes:
    return track("Product Viewed", at, product_id=product, price=price, currency=currency)


def search(term: str, at: int) -> bytes:
    return track("Products Searched", at, query=term)


def known(shop: Shop) -> records.Habits:
    """As of the last visit's end."""
    found = shop.end().of_kind("session_ended")[-1].habits
    assert found is not None
    return found


def looks(found: records.Habits) -> list[tuple[str, int, int]]:
    """(product, when after T0, how often within seven days)"""
    return [(look.product_id, look.at - T0, look.views) for look in found.recent]


def test_views_of_a_product_are_counted_over_visits_and_devices() -> None:
    shop = Shop().see(view("a", 0), view("b", 1), view("a", 2), click("d2", 5, "track", "Product Viewed", product_id="a")).pass_to(2 * DAY)
    assert looks(known(shop.see(view("a", 2 * DAY)))) == [("b", 1, 1), ("a", 2 * DAY, 4)]


@pytest.mark.parametrize(("since", "views"), [(VIEWS_WINDOW - GAP - 1, 2), (VIEWS_WINDOW - GAP, 1)])
def test_what_is_seven_days_old_counts_no_longer(since: int, views: int) -> None:
    shop = Shop().see(view("a", 0)).pass_to(GAP).see(view("a", since))
    assert looks(known(shop)) == [("a", since, views)]


def test_a_product_is_remembered_as_looked_at_when_its_views_no_longer_count() -> None:
    shop = Shop().see(view("a", 0, 9.5, "EUR")).pass_to(GAP).see(view("b", 8 * DAY))
    found = known(shop)
    assert looks(found) == [("a", 0, 0), ("b", 8 * DAY, 1)]
    assert (found.recent[0].price, found.recent[0].currency) == (9.5, "EUR")


def test_the_last_price_counts_and_a_look_without_one_has_none() -> None:
    shop = Shop().see(view("a", 0, 9.5, "EUR"), view("a", 1, 8.0, "EUR"), view("b", 2))
    assert [(look.price, look.currency) for look in known(shop).recent] == [(8.0, "EUR"), (None, None)]


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        pytest.param([("a", 20.0, "EUR"), ("b", 5.5, "EUR"), ("c", 9.0, "EUR")], (5.5, 20.0, "EUR"), id="least and most"),
        pytest.param([("a", 20.0, "EUR"), ("b", 999.0, "JPY"), ("c", 30.0, "EUR")], (20.0, 30.0, "EUR"), id="in the last currency only"),
        pytest.param([("a", 20.0, "EUR"), ("b", 999.0, None)], (999.0, 999.0, None), id="none is a currency, too"),
        pytest.param([("a", 999.0, None), ("b", 20.0, "EUR")], (20.0, 20.0, "EUR"), id="also when it comes first"),
        pytest.param([("a", 20.0, "eur "), ("b", 19.0, "EUR")], (19.0, 20.0, "EUR"), id="as it is written does not matter"),
        pytest.param([("a", None, "EUR")], (None, None, None), id="no price"),
        pytest.param([("a", -1.0, "EUR"), ("b", 1e30, "EUR")], (None, None, None), id="what can be no price"),
        pytest.param([("a", 0.333, None), ("b", 0.0, None)], (0.0, 0.333, None), id="not in whole hundredths"),
    ],
)
def test_the_price_range(views: list[tuple[str, float | None, str | None]], expected: tuple[Any, ...]) -> None:
    found = known(Shop().see(*(view(product, at, price, currency) for at, (product, price, currency) in enumerate(views))))
    assert (found.price_low, found.price_high, found.currency) == expected


def test_usual_hours_are_those_in_which_visits_begin_most_usual_first() -> None:
    shop = Shop()
    for begins in (0, DAY, DAY + 3 * HOUR, 2 * DAY):
        shop.see(click("d1", begins)).pass_to(begins + GAP)
    found = known(shop)
    assert found.hours == [T0_HOUR, (T0_HOUR + 3) % 24]
    assert found.visits == 4


def test_visits_count_for_four_weeks() -> None:
    shop = Shop().see(click("d1", 0)).pass_to(GAP).see(click("d1", 20 * DAY)).pass_to(20 * DAY + GAP).see(click("d1", HOURS_WINDOW + HOUR))
    assert known(shop).visits == 2


def test_the_last_search_terms_each_once() -> None:
    terms = ["bowl", "red  shoes", "lamp", "Bowl", "sofa", "rug", "", "chair", "x" * 100]
    found = known(Shop().see(*(search(term, at) for at, term in enumerate(terms))))
    assert found.searches == ["Bowl", "sofa", "rug", "chair", "x" * 64]


def test_an_exit_knows_the_visits_before_and_the_looks_of_this_one() -> None:
    shop = Shop().see(view("a", 0, 9.5, "EUR"), search("bowl", 1)).pass_to(GAP + 1)
    shop.see(view("a", DAY), view("b", DAY + 1, 3.0, "EUR"), search("lamp", DAY + 2), track("Exit Intent", DAY + 3, trigger="idle"))
    (signal,) = shop.of_kind("exit_signal")
    assert signal.habits is not None
    assert looks(signal.habits) == [("a", DAY, 2), ("b", DAY + 1, 1)]
    assert (signal.habits.visits, signal.habits.searches) == (1, ["bowl", "lamp"])


def test_who_is_new_has_no_visits_when_about_to_leave() -> None:
    (signal,) = Shop().see(track("Exit Intent", 0, trigger="idle")).of_kind("exit_signal")
    assert signal.habits == records.Habits([], 0)


def test_a_look_that_comes_out_of_order_counts_where_it_belongs() -> None:
    in_order = Shop().see(view("a", 0, 1.0), view("b", 5), view("a", 9, 2.0))
    shuffled = Shop().see(view("a", 9, 2.0), view("a", 0, 1.0)).pass_to(1).see(view("b", 5))
    assert known(shuffled) == known(in_order)


def test_a_look_whose_visit_is_over_does_not_count() -> None:
    shop = Shop().see(view("a", 0)).pass_to(DAY).see(view("b", 1), view("c", DAY + 5))
    assert [product for product, _, _ in looks(known(shop))] == ["a", "c"]


def test_a_merge_joins_what_is_known_of_both() -> None:
    shop = Shop().see(view("a", 0), search("bowl", 1), customer="old").see(view("a", 5), customer="new").pass_to(GAP + 5)
    shop.see(MERGE).see(view("b", DAY), customer="new")
    found = known(shop)
    assert looks(found) == [("a", 5, 2), ("b", DAY, 1)]
    assert (found.searches, found.visits) == (["bowl"], 2)


def test_what_was_handed_over_twice_counts_once() -> None:
    shop = Shop().see(view("a", 0), customer="old").see(view("a", 5), customer="new").pass_to(GAP + 5)
    before = shop.states["old"]
    shop.see(MERGE)
    once = shop.state("new")
    shop.states["old"] = before
    shop.see(MERGE)
    again = shop.state("new")
    assert once is not None
    assert again is not None
    assert again.habits == once.habits


def test_a_machine_that_never_leaves_has_no_habits() -> None:
    shop = Shop().see(*(view(f"p{n}", n * GAP) for n in range(50))).end()
    first, second = [ended.habits for ended in shop.of_kind("session_ended")]
    assert first == records.Habits([], 0)
    assert second is not None
    assert [look.product_id for look in second.recent] == ["p48", "p49"]
    assert shop.outcomes.count(("session", "endless")) == 1


def test_nothing_is_kept_of_who_is_here_for_the_first_time() -> None:
    state = Shop().see(view("a", 0)).state()
    assert state is not None
    assert state.habits is None


def test_however_much_one_does_little_is_kept() -> None:
    shop = Shop()
    for day in range(60):
        events = [view(f"product-{(day * 2 + n) % 400:06}", day * DAY + n, 19.99 + n, "EUR") for n in range(60)]
        shop.see(*events, *(search(f"{n} " * 60, day * DAY + n) for n in range(10))).pass_to(day * DAY + HOUR)
    state = shop.state()
    assert state is not None
    assert state.habits is not None
    found = habits.unpacked(state.habits)
    assert (len(found.views), len(found.searches), len(found.hours)) == (VIEWS_LIMIT, SEARCHES_LIMIT, 28)
    assert len({one.product_id for one in found.views}) == VIEWED_LIMIT
    assert len(state.habits) < 1_700


def test_a_visit_of_long_ago_does_not_count_when_nothing_was_learnt_since() -> None:
    (signal,) = Shop().see(click("d1", 0)).pass_to(DAY).see(track("Exit Intent", 29 * DAY, trigger="idle")).of_kind("exit_signal")
    assert signal.habits is not None
    assert (signal.habits.visits, signal.habits.hours) == (0, [])


def test_only_so_many_visits_are_remembered() -> None:
    shop = Shop()
    for number in range(2 * HOURS_LIMIT):
        shop.see(click("d1", number * 3 * HOUR)).pass_to(number * 3 * HOUR + GAP)
    assert known(shop).visits == HOURS_LIMIT


def test_an_old_look_goes_when_there_is_a_newer_one_of_the_product() -> None:
    shop = Shop().see(view("a", 0), view("b", 0)).pass_to(GAP).see(view("a", 10 * DAY)).pass_to(11 * DAY)
    state = shop.state()
    assert state is not None
    assert [(one.product_id, one.at - T0) for one in habits.unpacked(state.habits).views] == [("b", 0), ("a", 10 * DAY)]


def test_visits_that_turn_out_to_be_one_keep_what_was_done_in_both() -> None:
    shop = Shop().see(view("a", 0), search("bowl", 1), view("a", 2 * GAP, 5.0), search("lamp", 2 * GAP + 1), click("d1", GAP))
    (ended,) = shop.end().of_kind("session_ended")
    assert ended.session is not None
    assert ended.habits is not None
    assert ended.session.product_views == 2
    assert looks(ended.habits) == [("a", 2 * GAP, 2)]
    assert ended.habits.searches == ["bowl", "lamp"]


@pytest.mark.parametrize("products", [3, 50])
def test_a_visit_keeps_the_last_looks_and_counts_them_all(products: int) -> None:
    shop = Shop().see(*(view(f"p{n % products:02}", n, 10.0 + n % 2, "EUR") for n in range(300)))
    state = shop.state()
    assert state is not None
    assert state.visits[0].views <= VIEWS_LIMIT
    assert len(state.visits[0].viewed) < 800
    (ended,) = shop.end().of_kind("session_ended")
    assert ended.session is not None
    assert ended.session.product_views == 300
    assert len(ended.session.viewed) == min(products, VIEWED_LIMIT)


PRICES = st.none() | st.floats(0, 1e9) | st.integers(0, 10**11)
VIEWS = st.builds(View, st.sampled_from("abcdefgh"), st.integers(0, 10 * DAY), PRICES, st.none() | st.just("EUR"), st.integers(1, 9))
ANY = st.builds(
    Habits,
    st.lists(VIEWS, max_size=9, unique_by=lambda one: (one.product_id, one.at)).map(lambda views: sorted(map(_sound, views), key=newest)),
    st.lists(st.tuples(st.integers(0, DAY), st.sampled_from("abc")), max_size=5).map(last_searches),
    st.lists(st.integers(475_000, 475_000 + 7 * 24), min_size=1, max_size=HOURS_LIMIT, unique=True).map(sorted),
)


def _sound(one: View) -> View:
    return one if one.price is not None else msgspec.structs.replace(one, currency=None)


@given(ANY)
@settings(deadline=None)
def test_what_is_packed_is_what_is_unpacked(value: Habits) -> None:
    assert habits.unpacked(habits.packed(value)) == value


@given(ANY, ANY)
@settings(deadline=None)
def test_joining_is_the_same_either_way_and_again(one: Habits, other: Habits) -> None:
    there, back = habits.unpacked(habits.packed(one)), habits.unpacked(habits.packed(other))
    habits.join(there, other)
    habits.join(back, one)
    assert there == back
    again = habits.unpacked(habits.packed(there))
    habits.join(again, other)
    assert again == there

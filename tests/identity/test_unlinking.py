"""A wrong link taken out: who is who then, what comes late, and what links again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartstream.events import topics
from cartstream.events.records import CorrectedCustomer, Customer, Identifier, Split
from cartstream.identity.correction import Correction, signed, unlinking, written
from cartstream.identity.state import anonymous_customer
from tests.identity.people import HASH, T0, Event, People, device, email, everybody, identify, page, user
from tests.identity.test_erasure import erase, seen, states, told

ANN, BOB = "ann@example.test", "bob@example.test"
# Bob once typed Ann's address on his phone.
EVENTS = (
    page("a1", 0),
    identify("a1", 5, "ann", email=ANN, consent={"email": True, "sms": False}),
    identify("b1", 10, email=BOB),
    identify("b1", 20, email=ANN),
    page("b1", 25),
)
MOVED, KEPT = [device("b1"), email(BOB)], [email(ANN), user("ann"), device("a1")]


def unlink(at: int, moved: list[str] = MOVED, kept: list[str] = KEPT, number: int = 0) -> Correction:
    return signed(unlinking(f"unlink-{at}-{number}", T0 + at * 1000, moved, kept), HASH)


def tell(people: People, *corrections: Correction) -> People:
    for correction in corrections:
        people.pipeline.feed("", written(correction))
        people.pipeline.run()
    return people


BOTH = everybody(MOVED, KEPT)


@pytest.mark.parametrize("partitions", [1, 4])
def test_one_side_keeps_the_id_and_the_other_is_a_new_customer(partitions: int) -> None:
    people = tell(People(partitions).see(*EVENTS), unlink(30)).see(page("a1", 40), page("b1", 41), page("a1", 42, "ann"))

    old, new = anonymous_customer("a1"), people.customer_of("b1-41")
    assert people.people == BOTH
    assert people.customer_of("a1-40") == people.customer_of("a1-42") == old
    assert new not in (old, anonymous_customer("b1"))
    assert people.records(topics.IDENTIFIED, Split) == [Split(old, T0 + 30_000, "unlink-30-0")]
    assert people.counted("unlink") == {"done": 1}


def test_an_address_goes_with_its_side_and_consent_does_not() -> None:
    people = tell(People().see(*EVENTS), unlink(30))
    records = {record.customer_id: record for record in people.customers()[-2:]}
    kept = records.pop(anonymous_customer("a1"))
    (moved,) = records.values()
    assert kept.consent == {"email": True, "sms": False}
    assert moved.consent == {"sms": False}
    assert moved.identifiers == [Identifier("email", HASH("email", BOB))]
    assert kept.channels == moved.channels == [], "both sides have told an e-mail address, so it is not known whose the last one is"

    people.see(identify("b1", 40, email=BOB))
    assert people.customers()[-1] == Customer(
        moved.customer_id, T0 + 40_000, {"sms": False}, None, None, ["email"], moved.identifiers, ["b1"]
    )


def test_the_audit_says_what_was_done_in_hashes() -> None:
    people = tell(People().see(*EVENTS), unlink(30))
    (said,) = people.records(topics.AUDIT, CorrectedCustomer)
    hashed = HASH("device", "b1")
    assert said == CorrectedCustomer(
        said.id, anonymous_customer("a1"), T0 + 30_000, "unlink-30-0", "unlinked", "device", hashed, 1, 1, said.into
    )
    assert said.into == people.directory.holders([Identifier("device", "b1")])[device("b1")].customer_id


@pytest.mark.parametrize("batch_size", [1, 1_000])
def test_what_is_older_does_not_link_again_and_is_told_as_refused(batch_size: int) -> None:
    people = tell(People(batch_size=batch_size).see(*EVENTS), unlink(30))
    people.see(identify("b1", 26, email=ANN), page("b1", 27, "ann"), page("b1", 28))

    assert people.people == BOTH
    assert {refused.reason for refused in people.refused()} == {"unlinked"}
    assert people.counted("link_refused") == {"unlinked": 2}
    assert people.customer_of("b1-28") == people.directory.holders([Identifier("device", "b1")])[device("b1")].customer_id


def test_each_older_login_of_one_batch_is_refused_and_none_is_lost() -> None:
    logins = [page("b1", at, "ann") for at in (26, 27, 29)]
    people = tell(People().see(*EVENTS), unlink(30)).see(*logins, page("b1", 31, "ann"), page("b1", 32, "ann"))

    assert [refused.event_id for refused in people.refused()] == ["b1-26", "b1-27", "b1-29"]
    assert [event["messageId"] for _, event in people.forwarded()][-5:] == ["b1-26", "b1-27", "b1-29", "b1-31", "b1-32"]
    assert people.people == everybody([*MOVED, *KEPT])


def test_a_later_event_links_again() -> None:
    people = tell(People().see(*EVENTS), unlink(30)).see(page("b1", 31, "ann"))
    assert people.people == everybody([*MOVED, *KEPT])
    people.see(page("b1", 29, "ann"))
    assert people.people == everybody([*MOVED, *KEPT])


def test_a_third_who_shows_both_sides_late_joins_one_of_them() -> None:
    people = tell(People().see(*EVENTS), unlink(30)).see(identify("c1", 28, email=ANN), identify("c1", 29, email=BOB))
    assert people.people == everybody(MOVED, [*KEPT, device("c1")])


def test_telling_it_again_changes_nothing() -> None:
    after = (page("b1", 40), page("a1", 41, "ann"))
    once = tell(People().see(*EVENTS), unlink(30)).see(*after)
    twice = tell(People().see(*EVENTS), unlink(30), unlink(30)).see(*after)
    tell(twice, unlink(30))

    assert (twice.people, states(twice)) == (once.people, states(once))
    assert twice.counted("unlink") == {"done": 1, "repeated": 2}


def test_a_command_that_comes_before_the_events_holds_for_them() -> None:
    assert tell(People(), unlink(30)).see(*EVENTS).people == BOTH


def test_who_was_erased_stays_so() -> None:
    people = told(People().see(*EVENTS), erase(user("ann"), 29, "a1", "b1"))
    assert tell(people, unlink(28)).people == set()
    assert people.counted("unlink") == {"nothing_to_split": 1}


def test_an_erasure_of_one_side_leaves_the_other() -> None:
    people = told(tell(People().see(*EVENTS), unlink(30)), erase(user("ann"), 40, "a1"))
    people.see(identify("b1", 29, email=ANN), page("b1", 50))
    assert people.people == everybody(MOVED)
    assert len(seen(people, "b1-50")) == 1


@st.composite
def two_families(draw: st.DrawFn) -> tuple[list[Event], int]:
    """Two people on two devices each, and the time after which events show one in place of the other as they like. Before, one does."""
    count = draw(st.integers(1, 16))
    moment, wrong = draw(st.integers(0, count)) - 1, draw(st.integers(0, count))
    events = []
    for at in range(count):
        on, crosses = draw(st.integers(0, 1)), at == wrong or (at > moment and draw(st.booleans()))
        traits = {name: value for name, value in _TRAITS[1 - on if crosses else on].items() if draw(st.booleans())}
        events.append(identify(f"d{on}-{draw(st.integers(0, 1))}", at, **traits))
    return events, moment


_TRAITS = [{"email": f"p{n}@example.test", "phone": f"+49151123456{n}0"} for n in range(2)]


def _side(number: int) -> list[str]:
    traits = _TRAITS[number]
    hashed = [email(traits["email"]), "phone:" + HASH("phone", traits["phone"])]
    return [*hashed, device(f"d{number}-0"), device(f"d{number}-1")]


@settings(max_examples=60, deadline=None)
@given(two_families(), st.randoms(use_true_random=False), st.sampled_from([(1, 1), (1, 1_000), (4, 3)]))
def test_both_sides_stay_apart_in_any_order_and_later_events_join_them_alike(
    story: tuple[list[Event], int], random: Random, cut: tuple[int, int]
) -> None:
    """Events of up to the unlink come in any order, before and after the command, and repeatedly."""
    events, moment = story
    command = unlink(moment, _side(0), _side(1))
    before, after = events[: moment + 1], events[moment + 1 :]
    in_order = tell(People().see(*before), command)
    shuffled = [*before, *before[::2]]
    random.shuffle(shuffled)
    place = random.randint(0, len(shuffled))
    other = tell(People(*cut).see(*shuffled[:place]), command, command).see(*shuffled[place:])

    for people in (in_order, other):
        for person in people.people:
            assert not (person & {*_side(0)} and person & {*_side(1)})
    owners = in_order.see(*after).people
    assert tell(other.see(*after, *after[::3]), command).people == owners

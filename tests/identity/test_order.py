"""Who is whom does not depend on batches, partitions, repetition or arrival.

What is promised, and what is not: docs/identity.md, "Order". Where nobody contends, arrival order changes no cluster, and no id as long
as a device's first event is there before its login. Where a limit is hit, event times decide unless an event is late, and then the
refusal says so.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cartstream.identity.rules import read_rules
from tests.identity.people import HASH, Event, People, identify, page

PEOPLE = 3
ADDRESSES = ["e0@example.test", HASH("email", "e0@example.test"), HASH("email", "e1@example.test"), HASH("email", "e2@example.test")]


@st.composite
def honest_events(draw: st.DrawFn) -> list[Event]:
    """Each device is one person's; each event tells some of that person's identifiers. In order of time."""
    events: list[Event] = []
    for at in range(draw(st.integers(1, 25))):
        person = draw(st.integers(0, PEOPLE - 1))
        device = f"d{person}-{draw(st.integers(0, 3))}"
        user = f"u{person}" if draw(st.booleans()) else None
        if draw(st.booleans()):
            traits = {name: value for name, value in _traits(person).items() if draw(st.booleans())}
            events.append(identify(device, at, user, **traits))
        else:
            events.append(page(device, at, user))
    return events


def _traits(person: int) -> dict[str, str]:
    return {"email": f"p{person}@example.test", "phone": f"+49151123456{person}0", "loyaltyId": f"L{person}"}


@st.composite
def contended_events(draw: st.DrawFn) -> list[Event]:
    """Logins come and go on shared devices, sometimes told too late."""
    logins = st.sampled_from([None, "u0", "u1", "u2"])
    times = st.integers(0, 3)
    return [
        page(f"d{draw(st.integers(0, 4))}", 4 * at - 5 * draw(times), draw(logins), messageId=f"m{at}")
        for at in range(draw(st.integers(1, 25)))
    ]


TIGHT = read_rules(
    """
identifiers:
  - {type: user_id, limit: 1}
  - {type: email, limit: 2, within: 10s}
  - {type: loyalty_id, limit: 1}
  - {type: device, limit: 2, within: 5s}
caps: {devices: 4}
""",
    "tight.yaml",
)


@st.composite
def quarrelling_events(draw: st.DrawFn) -> list[Event]:
    """Logins, addresses and cards on few devices, so that every limit of TIGHT is hit."""
    events: list[Event] = []
    for at in range(draw(st.integers(1, 12))):
        login = draw(st.sampled_from([None, "u0", "u1", "u2"]))
        traits = {"email": f"e{draw(st.integers(0, 2))}@example.test"} if draw(st.booleans()) else {}
        traits |= {"loyaltyId": f"L{draw(st.integers(0, 1))}"} if draw(st.integers(0, 3)) == 0 else {}
        events.append(identify(f"d{draw(st.integers(0, 4))}", at, login, **traits))
    return events


@st.composite
def repeated_events(draw: st.DrawFn) -> list[Event]:
    """Few devices that tell much of the same, sometimes late; a hash or a card is an identifier alone, an address comes with more."""
    late = draw(st.sampled_from([0, 3, 8]))
    events: list[Event] = []
    for number in range(draw(st.integers(1, 20))):
        traits = {"email": draw(st.sampled_from(ADDRESSES))} if draw(st.booleans()) else {}
        traits |= {"loyaltyId": f"L{draw(st.integers(0, 1))}"} if draw(st.booleans()) else {}
        login = draw(st.sampled_from([None, "u0", "u1", "u2"]))
        at = 4 * number - 5 * draw(st.integers(0, late))
        events.append(page(f"d{draw(st.integers(0, 2))}", at, login, messageId=f"m{number}", type="identify", traits=traits))
    return events


def owners(people: People, events: list[Event]) -> list[str]:
    return [people.customer_of(event["messageId"]) for event in events]


@settings(max_examples=40, deadline=None)
@given(honest_events(), st.randoms(use_true_random=False))
def test_no_shuffle_or_repetition_changes_who_is_whom(events: list[Event], random: Random) -> None:
    expected = People().see(*events).people
    shuffled = [*events, *events[::2]]
    random.shuffle(shuffled)

    assert People().see(*shuffled).people == expected
    assert People(partitions=8, batch_size=3).see(*shuffled).people == expected


@settings(max_examples=40, deadline=None)
@given(honest_events())
def test_partitions_and_batches_change_neither_people_nor_their_ids(events: list[Event]) -> None:
    base = People().see(*events)
    expected = base.people, owners(base, events)

    for partitions, batch_size in ((1, 1), (3, 7), (8, 1_000), (8, 1)):
        other = People(partitions, batch_size).see(*events)
        assert (other.people, owners(other, events)) == expected


A_LOGIN_JUST_BEFORE_ONE_OF_THE_SAME_BATCH = [
    page("d1", 0, "u1", messageId="m0"),
    page("d1", 4, "u2", messageId="m1"),
    *(page("d0", 4 * n, messageId=f"m{n}") for n in range(2, 9)),
    page("d1", 36, "u0", messageId="m9"),
    page("d1", 35, "u2", messageId="m10"),
]


def told(people: People, events: list[Event]) -> tuple[Any, ...]:
    """All that batches must not change."""
    return people.people, owners(people, events), people.refused(), people.stage.outcomes, people.customers(), people.merges()


@settings(max_examples=40, deadline=None)
@given(contended_events())
@example(A_LOGIN_JUST_BEFORE_ONE_OF_THE_SAME_BATCH)
def test_batches_change_nothing_on_shared_devices_either(events: list[Event]) -> None:
    base = People().see(*events)
    for batch_size in (1, 2, 7):
        other = People(batch_size=batch_size).see(*events)
        assert told(other, events) == told(base, events)


@settings(max_examples=40, deadline=None)
@given(repeated_events(), st.booleans())
def test_nor_do_they_where_logins_cards_and_hashed_addresses_are_told_again_and_again(events: list[Event], tight: bool) -> None:
    rules = TIGHT if tight else None
    base = People(rules=rules).see(*events)
    for batch_size in (1, 2, 7):
        other = People(batch_size=batch_size, rules=rules).see(*events)
        assert told(other, events) == told(base, events)


@settings(max_examples=40, deadline=None)
@given(contended_events())
def test_two_logins_are_never_one_person(events: list[Event]) -> None:
    people = People(partitions=3, batch_size=2).see(*events)
    for person in people.people:
        assert sum(name.startswith("user_id:") for name in person) <= 1
    for event in events:
        if "userId" in event:
            owner = people.customer_of(event["messageId"])
            node = people.directory.nodes[owner]
            assert [identifier.value for identifier in node.identifiers] == [event["userId"]]


@settings(max_examples=200, deadline=None)
@given(quarrelling_events(), st.randoms(use_true_random=False), st.sampled_from([(1, 1), (1, 1_000), (4, 3)]))
def test_where_limits_are_hit_event_times_decide_or_a_late_link_is_counted(
    events: list[Event], random: Random, cut: tuple[int, int]
) -> None:
    in_order = People(rules=TIGHT).see(*events)
    arrival = [*events, *events[::3]]
    random.shuffle(arrival)
    other = People(*cut, rules=TIGHT).see(*arrival)

    assert not in_order.counted("late_link")
    assert other.people == in_order.people or any(other.counted("late_link").get(kind) for kind in ("device", "email", "loyalty_id"))


def test_a_device_that_turns_out_to_be_a_customers_from_earlier_on_by_a_new_address_is_a_late_link() -> None:
    """In order the card would not have joined the first device: three devices within the five seconds of TIGHT."""
    card, first = [identify(device, at, None, loyaltyId="L0") for device, at in (("d0", 5), ("d2", 3), ("d1", 2))], "e0@example.test"
    events = [card[0], identify("d1", 0, None, email=first), *card[1:], identify("d0", 1, None, email="e1@example.test")]

    assert People(rules=TIGHT).see(*events).counted("late_link")["device"] == 1


def test_a_device_that_turns_out_to_be_a_customers_from_earlier_on_may_have_kept_another_one_out() -> None:
    """In order there would have been room for the third one: only two devices within the five seconds of TIGHT."""
    events = [identify(device, at, None, loyaltyId="L0") for device, at in (("d2", 7), ("d0", 6), ("d1", 8), ("d0", 1))]

    people = People(rules=TIGHT).see(*events)

    assert people.counted("link_refused") == {"limit": 1}
    assert people.counted("late_link")["device"] == 1


@settings(max_examples=60, deadline=None)
@given(quarrelling_events(), st.sampled_from([2, 3, 8]))
def test_in_order_of_time_limits_give_the_same_people_and_audit_on_any_number_of_partitions(events: list[Event], partitions: int) -> None:
    base, other = People(rules=TIGHT), People(partitions, rules=TIGHT)
    for event in events:
        base.see(event)
        other.see(event)
    assert (other.people, sorted(map(repr, other.refused()))) == (base.people, sorted(map(repr, base.refused())))


@settings(max_examples=60, deadline=None)
@given(honest_events(), st.randoms(use_true_random=False))
def test_the_survivor_too_is_the_same_in_any_order_in_which_a_devices_first_event_precedes_its_login(
    events: list[Event], random: Random
) -> None:
    devices = sorted({str(event["anonymousId"]) for event in events})
    visits = [page(device, at) for n, device in enumerate(devices) for at in (-1 - n, -60 + 7 * n % 50)]
    base = People().see(*visits, *events)
    later = [*events, *events[::2]]
    random.shuffle(later)

    other = People(partitions=4, batch_size=3).see(*random.sample(visits, len(visits)), *later)

    assert (other.people, owners(other, events)) == (base.people, owners(base, events))

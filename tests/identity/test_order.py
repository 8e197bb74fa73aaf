"""Who is whom does not depend on batches, partitions, repetition or arrival.

What is promised, and what is not. Partitions and batches change nothing for devices that do not contend for a limited
identifier. Arrival order changes no cluster as long as nobody contends: where two logins share a device or an address, who
came first has it, so the order of arrival decides. The survivor's id depends on each device's first *arrival*: it is the same under
any partitioning, but not if a device's own events are shuffled.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.people import Event, People, identify, page

PEOPLE = 3


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
    """Logins come and go on shared devices, each device by itself."""
    return [
        page(f"d{draw(st.integers(0, 4))}", at, draw(st.sampled_from([None, "u0", "u1", "u2"]))) for at in range(draw(st.integers(1, 25)))
    ]


def owners(people: People, events: list[Event]) -> list[str]:
    return [people.customer_of(event["messageId"]) for event in events]


@settings(max_examples=40, deadline=None)
@given(honest_events(), st.randoms(use_true_random=False))
def test_no_shuffle_or_repetition_changes_who_is_whom(events: list[Event], random: object) -> None:
    expected = People().see(*events).people
    shuffled = [*events, *events[::2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

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


@settings(max_examples=40, deadline=None)
@given(contended_events())
def test_batches_change_nothing_on_shared_devices_either(events: list[Event]) -> None:
    base = People().see(*events)
    expected = base.people, owners(base, events)
    for batch_size in (1, 2, 7):
        other = People(batch_size=batch_size).see(*events)
        assert (other.people, owners(other, events)) == expected


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

"""Erasure: what stays of a customer, what comes late, and who comes after."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from msgspec.structs import replace

from cartstream.events import topics
from cartstream.events.formats.opening import SchemaSource, open_format
from cartstream.events.records import CorrectedCustomer, Customer
from cartstream.identity.correction import Correction, erasure, signed, written
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.nodes import identifier_named
from cartstream.identity.stage import IdentityStage
from cartstream.identity.state import DeviceState, anonymous_customer
from cartstream.runtime.stage import Record, Several
from tests.identity.people import HASH, T0, Event, People, device, email, everybody, identify, page, phone, settings, user
from tests.identity.test_order import honest_events

ADDRESS, NUMBER = "ann@example.test", "+4915112345678"
ANN = (
    page("phone", 0),
    identify("phone", 10, "ann", email=ADDRESS, phone=NUMBER, consent={"email": True}),
    page("laptop", 20, "ann"),
)


def erase(name: str, at: int, *devices: str, number: int = 0) -> Correction:
    return signed(erasure(f"erase-{at}-{number}", T0 + at * 1000, identifier_named(name), list(devices)), HASH)


def told(people: People, *corrections: Correction) -> People:
    for correction in corrections:
        people.pipeline.feed("", written(correction))
        people.pipeline.run()
    return people


def seen(people: People, message_id: str) -> list[str]:
    return [customer for customer, event in people.forwarded() if event["messageId"] == message_id]


def states(people: People) -> dict[str, DeviceState]:
    return dict(people.pipeline.states("identity"))


@pytest.mark.parametrize("name", [user("ann"), email(ADDRESS), phone(NUMBER), device("laptop"), device("phone")])
@pytest.mark.parametrize("partitions", [1, 4])
def test_whoever_has_the_identifier_is_gone_with_all_that_was_told(name: str, partitions: int) -> None:
    people = told(People(partitions).see(*ANN), erase(name, 30, "phone", "laptop"))

    old = anonymous_customer("phone")
    kept = msgspec.json.encode([people.directory.nodes, list(states(people).values())], enc_hook=str)
    assert people.people == set()
    assert (people.directory.nodes[old].contacts, people.directory.nodes[old].consent) == ({}, {})
    assert all(value.encode() not in kept for value in (ADDRESS, NUMBER, "ann", HASH("email", ADDRESS), HASH("phone", NUMBER)))
    assert people.customers()[-2:] == [Customer(old, T0 + 30_000), Customer(anonymous_customer("laptop"), T0 + 30_000)]
    assert people.records(topics.IDENTIFIED, Customer)[-1] == Customer(old, T0 + 30_000)
    assert people.counted("erasure") == {"done": 1}


def test_the_audit_says_what_was_done_in_hashes() -> None:
    people = told(People().see(*ANN), erase(user("ann"), 30))

    (said,) = people.records(topics.AUDIT, CorrectedCustomer)
    assert said == CorrectedCustomer(
        said.id, anonymous_customer("phone"), T0 + 30_000, "erase-30-0", "erased", "user_id", HASH("user_id", "ann"), 3, 2
    )


@pytest.mark.parametrize("batch_size", [1, 1_000])
def test_a_login_of_before_and_one_of_after_may_share_a_batch(batch_size: int) -> None:
    people = told(People(batch_size=batch_size).see(*ANN), erase(user("ann"), 30, "phone", "laptop"))
    people.see(page("till", 26, "ann"), page("till", 40, "ann"), page("till", 41, "ann"))

    assert people.people == everybody([user("ann"), device("till")])
    assert (seen(people, "till-26"), len(seen(people, "till-40")), seen(people, "till-41")) == ([], 1, seen(people, "till-40"))
    assert people.counted("erased") == {"late_event": 1}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_devices_of_who_is_found_late_hear_of_it(batch_size: int) -> None:
    people = told(People(batch_size=batch_size).see(page("phone", 0, "bob")), erase(email(ADDRESS), 30))
    people.see(identify("laptop", 20, "bob", email=ADDRESS), page("laptop", 31), page("phone", 40, "bob"))

    assert people.people == everybody([user("bob"), device("phone")])
    assert seen(people, "phone-40") == [anonymous_customer("phone", T0 + 30_000)]


@pytest.mark.parametrize("devices", [(), ("phone", "laptop")])
@pytest.mark.parametrize("batch_size", [1, 1_000])
def test_what_is_used_again_later_makes_a_new_customer(devices: tuple[str, ...], batch_size: int) -> None:
    people = told(People(batch_size=batch_size).see(*ANN), erase(user("ann"), 30, *devices))
    people.see(page("phone", 40), page("laptop", 50, "ann"), identify("phone", 60, email=ADDRESS), page("phone", 70))

    old, new = anonymous_customer("phone"), people.customer_of("phone-60")
    assert new != old
    assert {people.customer_of(f"phone-{at}") for at in (40, 70)} == {new}
    assert people.customer_of("laptop-50") != old
    assert people.people == everybody([user("ann"), device("laptop")], [email(ADDRESS), device("phone")])


@pytest.mark.parametrize("devices", [(), ("phone", "laptop")])
def test_what_is_older_and_comes_late_is_nobodys(devices: tuple[str, ...]) -> None:
    people = told(People().see(*ANN), erase(user("ann"), 30, *devices))
    late = (
        page("phone", 25),
        page("laptop", 26, "ann"),
        identify("phone", 27, email=ADDRESS),
        page("phone", 30),
        page("tablet", 28, "ann"),
    )
    people.see(*late)

    assert [seen(people, event["messageId"]) for event in late] == [[]] * len(late)
    assert people.people == set()
    assert people.counted("erased") == {"late_event": len(late)}


def test_who_turns_out_late_to_be_the_same_customer_is_erased_too() -> None:
    """The tablet's shopper gave an address before; that it is Ann's is told by an event from before the erasure."""
    people = People().see(*ANN, identify("tablet", 15, email="a@example.test"))
    told(people, erase(user("ann"), 30, "phone", "laptop"))
    people.see(identify("tablet", 29, "ann", email="a@example.test"), page("tablet", 28))

    assert people.people == set()
    assert seen(people, "tablet-29") == seen(people, "tablet-28") == []
    assert people.records(topics.IDENTIFIED, Customer)[-1] == Customer(anonymous_customer("tablet"), T0 + 30_000)
    assert people.counted("erasure") == {"done": 1, "found_late": 1}
    people.see(page("tablet", 31))
    assert people.customer_of("tablet-31") not in (anonymous_customer("tablet"), anonymous_customer("phone"))


def test_another_login_on_the_device_stays_who_he_is() -> None:
    people = People().see(*ANN, page("phone", 25, "bob"))
    told(people, erase(user("ann"), 30, "phone", "laptop"))
    people.see(page("phone", 28, "bob"), page("phone", 40, "bob"), page("phone", 29))

    bob = people.customer_of("phone-25")
    assert people.customer_of("phone-28") == people.customer_of("phone-40") == bob
    assert seen(people, "phone-29") == []
    assert [{user("bob")}] == [{name for name in person if name.startswith("user_id")} for person in people.people]


def test_a_command_that_comes_before_the_events_holds_for_them() -> None:
    people = told(People(), erase(user("ann"), 30))
    people.see(*ANN, page("tablet", 40, "ann"))

    assert seen(people, "phone-10") == seen(people, "laptop-20") == []
    assert people.people == everybody([user("ann"), device("tablet")])


def test_telling_a_command_again_changes_nothing() -> None:
    once = told(People(2).see(*ANN), erase(user("ann"), 30, "phone"))
    twice = told(People(2).see(*ANN), erase(user("ann"), 30, "phone"))
    after = (page("phone", 40, "ann"), page("laptop", 50, "ann"))
    once.see(*after)
    twice.see(*after)
    told(twice, erase(user("ann"), 30, "phone"), erase(user("ann"), 20, number=1))

    assert twice.people == once.people == everybody([user("ann"), device("phone"), device("laptop")])
    assert states(twice) == states(once)
    assert twice.counted("erasure") == {"done": 1, "repeated": 2}


def test_each_erasure_begins_another_customer() -> None:
    people = People().see(page("d1", 0, "ann"))
    for at in (10, 20):
        told(people, erase(user("ann"), at, "d1")).see(page("d1", at + 5, "ann"))
    assert len({customer for at in (0, 15, 25) for customer in seen(people, f"d1-{at}")}) == 3


def test_a_device_without_any_login_can_be_erased() -> None:
    people = told(People().see(page("d1", 0)), erase(device("d1"), 10, "d1")).see(page("d1", 5), page("d1", 20))

    assert people.records(topics.IDENTIFIED, Customer) == [Customer(anonymous_customer("d1"), T0 + 10_000)]
    assert seen(people, "d1-5") == []
    assert people.customer_of("d1-20") != anonymous_customer("d1")


def test_a_device_that_the_command_does_not_name_is_nobodys_either() -> None:
    people = told(People().see(page("d1", 0)), erase(device("d1"), 10)).see(page("d1", 5), page("d1", 20))

    assert seen(people, "d1-5") == []
    assert seen(people, "d1-20") == [anonymous_customer("d1", T0 + 10_000)]


@pytest.mark.parametrize("change", [{"identifier": user("bob")}, {"signature": "0" * 32}, {"timestamp": datetime(2030, 1, 1, tzinfo=UTC)}])
def test_nobody_without_the_key_can_have_anybody_forgotten(change: dict[str, Any]) -> None:
    people = People().see(*ANN, page("d9", 25, "bob"))
    before = people.people
    people.see_raw(written(replace(erase(user("ann"), 30), **change)))
    assert people.people == before
    assert people.outputs[-1].topic == topics.dead_letters(topics.CLICKSTREAM)


@pytest.mark.parametrize("name", ["ga4", "snowplow", "cloudevents", "avro"])
def test_commands_are_the_same_in_a_clickstream_of_any_format(name: str) -> None:
    stage = IdentityStage(settings(), MemoryDirectory(), None, open_format(name, SchemaSource()))
    raw = orjson.dumps(orjson.loads(written(erase(user("ann"), 30, "phone"))), option=orjson.OPT_INDENT_2)
    with pytest.raises(Several) as several:
        stage.decode(Record(topics.CLICKSTREAM, 0, 0, None, raw))
    assert [event.device_id for event in several.value.events] == ["correction:erase-30-0", "phone"]


@pytest.mark.parametrize("raw", [b'{"type":"cartstream.erase"}', b'{"type":"cartstream.odd","messageId":"m"}'])
def test_what_is_no_command_is_a_dead_letter(raw: bytes) -> None:
    people = People().see_raw(raw)
    assert people.outputs[-1].topic == topics.dead_letters(topics.CLICKSTREAM)


@effort(max_examples=60, deadline=None)
@given(honest_events(), st.data(), st.randoms(use_true_random=False), st.sampled_from([(1, 1), (1, 1_000), (4, 3)]))
def test_order_repetition_and_partitions_change_neither_who_is_left_nor_who_they_are(
    events: list[Event], data: st.DataObject, random: Random, cut: tuple[int, int]
) -> None:
    """Events of up to the erasure come in any order, before and after the command, and repeatedly."""
    moment = data.draw(st.integers(0, len(events))) - 1
    person = data.draw(st.integers(0, 2))
    command = erase(user(f"u{person}"), moment, *data.draw(st.sets(st.sampled_from([f"d{person}-{n}" for n in range(4)]))))
    before, after = events[: moment + 1], events[moment + 1 :]
    in_order = told(People().see(*before), command).see(*after)
    shuffled = [*before, *before[::2]]
    random.shuffle(shuffled)
    place = random.randint(0, len(shuffled))

    other = told(People(*cut).see(*shuffled[:place]), command, command).see(*shuffled[place:])
    told(other.see(*after, *after[::3]), command)

    assert other.people == in_order.people

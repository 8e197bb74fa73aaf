"""Who turns out to be whom, one row a case."""

from __future__ import annotations

import pytest

from tests.identity.people import T0, Event, People, Person, device, email, everybody, identify, page, phone, user

ANN, BOB = "ann@example.test", "bob@example.test"
CASES: dict[str, tuple[list[Event], set[Person]]] = {
    "nobody is known": ([page("d1", 0), page("d2", 1)], everybody()),
    "a first login": ([page("d1", 0), page("d1", 1, "u1")], everybody((user("u1"), device("d1")))),
    "a login on a second device": (
        [page("d1", 0, "u1"), page("d2", 1), page("d2", 2, "u1")],
        everybody((user("u1"), device("d1"), device("d2"))),
    ),
    "two logins on a shared device stay two people": (
        [page("d1", 0, "u1"), page("d1", 1, "u2")],
        everybody((user("u1"), device("d1")), (user("u2"),)),
    ),
    "the second login of a shared device keeps its own devices": (
        [page("d1", 0, "u1"), page("d2", 1, "u2"), page("d1", 2, "u2")],
        everybody((user("u1"), device("d1")), (user("u2"), device("d2"))),
    ),
    "an alias joins the device that was": (
        [page("d1", 0), page("x", 1, "u1", type="alias", previousId="d1")],
        everybody((user("u1"), device("d1"))),
    ),
    "identify without anybody": ([identify("d1", 0), page("d1", 1)], everybody()),
    "identify(null) and other values of broken trackers": (
        [
            page(f"d{n}", n, value)
            for n, value in enumerate(["null", "undefined", "", "0", "000-0", " 'NULL' ", "None", "anonymous", "-1", "NaN"])
        ],
        everybody(),
    ),
    "an e-mail address joins two devices": (
        [identify("d1", 0, email=ANN), identify("d2", 1, email=" Ann@Example.test ")],
        everybody((email(ANN), device("d1"), device("d2"))),
    ),
    "a phone number joins two devices": (
        [identify("d1", 0, phone="+49 151 12345678"), identify("d2", 1, phone="+4915112345678")],
        everybody((phone("+4915112345678"), device("d1"), device("d2"))),
    ),
    "a loyalty card joins two devices": (
        [identify("d1", 0, loyaltyId="L1"), identify("d2", 1, loyalty_id="L1")],
        everybody(("loyalty_id:L1", device("d1"), device("d2"))),
    ),
    "one event that names both joins a login and an address": (
        [page("d1", 0, "u1"), identify("d2", 1, email=ANN), identify("d3", 2, "u1", email=ANN)],
        everybody((user("u1"), email(ANN), device("d1"), device("d2"), device("d3"))),
    ),
    "two logins with one address stay two people, who had it first keeps it": (
        [identify("d1", 0, "u1", email=ANN), identify("d2", 1, "u2", email=ANN)],
        everybody((user("u1"), email(ANN), device("d1")), (user("u2"), device("d2"))),
    ),
    "a sixth address is set aside": (
        [identify("d1", n, "u1", email=f"a{n}@example.test") for n in range(6)],
        everybody((user("u1"), device("d1"), *(email(f"a{n}@example.test") for n in range(5)))),
    ),
    "a second loyalty card is set aside": (
        [identify("d1", 0, "u1", loyaltyId="L1"), identify("d1", 1, "u1", loyaltyId="L2")],
        everybody((user("u1"), device("d1"), "loyalty_id:L1")),
    ),
    "an address that is none joins nobody": (
        [identify("d1", 0, email="not an address"), identify("d2", 1, email="not an address")],
        everybody(),
    ),
    "a number without a country joins nobody": ([identify("d1", 0, phone="0151 1234"), identify("d2", 1, phone="0151 1234")], everybody()),
    "traits in the context count": (
        [page("d1", 0, context={"traits": {"email": ANN}}), identify("d2", 1, email=ANN)],
        everybody((email(ANN), device("d1"), device("d2"))),
    ),
    "a user id that is an address is one person by its hash": (
        [page("d1", 0, ANN), page("d2", 1, ANN)],
        everybody((user(email(ANN).removeprefix("email:")), device("d1"), device("d2"))),
    ),
    "an event of a server, without a device": (
        [page("d1", 0, "u1"), page(None, 1, "u1")],
        everybody((user("u1"), device("d1"), device("user:u1"))),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch_size", [1, 1_000])
def test_people(case: str, batch_size: int) -> None:
    events, expected = CASES[case]
    assert People(batch_size=batch_size).see(*events).people == expected


@pytest.mark.parametrize("case", CASES)
def test_telling_everything_twice_changes_nobody(case: str) -> None:
    events, expected = CASES[case]
    assert People().see(*events, *events).people == expected


def test_what_a_device_did_before_its_login_belongs_to_the_person() -> None:
    people = People().see(page("d1", 0), page("d1", 1, "u1"), page("d1", 2))
    assert len({people.customer_of(f"d1-{n}") for n in range(3)}) == 1


def test_events_of_a_shared_device_go_to_their_login_and_anonymous_ones_to_neither() -> None:
    people = People().see(page("d1", 0, "u1"), page("d1", 1, "u2"), page("d1", 2), page("d1", 3, "u1"), page("d1", 4, "u2"))
    first, second, nobody = (people.customer_of(f"d1-{n}") for n in (0, 1, 2))

    assert len({first, second, nobody}) == 3
    assert people.customer_of("d1-3") == first
    assert people.customer_of("d1-4") == second


def test_an_address_too_many_does_not_make_the_device_a_shared_one() -> None:
    people = People().see(*(identify("d1", n, "u1", email=f"a{n}@example.test") for n in range(6)), page("d1", 9))
    assert people.customer_of("d1-9") == people.customer_of("d1-0")


def test_the_survivor_is_the_one_seen_first() -> None:
    people = People().see(page("late", 50, "u1"), page("early", 10), page("early", 60, "u1"))
    (merge,) = people.merges()
    assert merge.survivor == people.customer_of("early-10")
    assert merge.loser != merge.survivor
    assert (merge.at, merge.event_id, merge.identifier_type) == (T0 + 60_000, "early-60", "user_id")


def test_a_merge_goes_to_the_loser_before_the_event_that_caused_it() -> None:
    people = People().see(page("d1", 0, "u1"), page("d2", 1), page("d2", 2, "u1"))
    (merge,) = people.merges()
    to_loser = [wire for wire in people.outputs if wire.topic == "clickstream.identified" and wire.key == merge.loser]

    assert [wire.value[:1] for wire in to_loser] == [b"{", b"\0", b"{"]


def test_a_customer_record_says_what_is_known_without_addresses() -> None:
    consent = {"email": True, "sms": False, "fax": True}
    people = People().see(
        identify("d1", 0, "u1", email=ANN, phone="+4915112345678", timezone="Europe/Berlin", locale="de", consent=consent)
    )
    record = people.customers()[-1]

    assert record.consent == {"email": True, "sms": False}
    assert (record.timezone, record.locale) == ("Europe/Berlin", "de")
    assert record.channels == ["email", "sms"]
    assert [identifier.type for identifier in record.identifiers] == ["email", "phone", "user_id"]
    assert record.devices == ["d1"]


def test_consent_categories_are_mapped_to_channels() -> None:
    preferences = {"consent": {"categoryPreferences": {"Advertising": True, "Functional": True}}}
    people = People(consent_categories={"Advertising": ["email", "push"]}).see(page("d1", 0, "u1", context=preferences))
    assert people.customers()[-1].consent == {"email": True, "push": True}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(0, True), (1, False)], False),
        ([(0, False), (1, True)], True),
        ([(1, True), (0, False)], True),
        ([(1, False), (0, True)], False),
        ([(1, True), (1, False)], False),
        ([(1, False), (1, True)], False),
    ],
)
def test_the_later_word_counts_and_at_the_same_moment_a_no(said: list[tuple[int, bool]], expected: bool) -> None:
    events = [identify("d1", at, "u1", consent={"email": word}) | {"messageId": f"m{n}"} for n, (at, word) in enumerate(said)]
    assert People().see(*events).customers()[-1].consent == {"email": expected}


@pytest.mark.parametrize(
    ("first", "second", "expected"), [((0, True), (1, False), False), ((1, True), (0, False), True), ((1, True), (1, False), False)]
)
def test_consent_of_two_who_are_one_follows_the_same_rule(first: tuple[int, bool], second: tuple[int, bool], expected: bool) -> None:
    people = People().see(
        identify("d1", first[0], "u1", consent={"email": first[1]}),
        identify("d2", second[0], email=ANN, consent={"email": second[1]}),
        identify("d3", 9, "u1", email=ANN),
    )
    assert people.customers()[-1].consent == {"email": expected}


def test_without_a_word_there_is_no_consent() -> None:
    assert People().see(identify("d1", 0, "u1", email=ANN)).customers()[-1].consent == {}

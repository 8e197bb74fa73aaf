"""A customer of a thousand devices: each step stays a bounded piece of work."""

from __future__ import annotations

from cartstream.events import topics
from cartstream.identity.rules import read_rules
from tests.identity.people import People, identify, page

MANY = read_rules(
    """
identifiers:
  - {type: user_id, limit: 1}
  - {type: email, limit: 5}
  - {type: device, limit: 1000}
""",
    "many.yaml",
)
HALF = 500


def test_two_customers_of_five_hundred_devices_are_joined_by_one_record_and_no_device_moves() -> None:
    people = People(rules=MANY).see(
        *(page(f"a{n}", n, "u1") for n in range(HALF)),
        *(identify(f"b{n}", n, email="x@example.test") for n in range(HALF)),
    )
    before = len(people.outputs)

    people.see(identify("a0", 9_999, "u1", email="x@example.test"))

    told = [wire for wire in people.outputs[before:] if wire.topic != topics.CLICKSTREAM and wire.partition < 0]
    assert [wire.topic for wire in told].count(topics.MERGES) == 1
    assert len(told) <= 5
    assert {len(person) for person in people.people} == {2 * HALF + 2}
    assert len({people.customer_of(f"{side}{n}-{n}") for side in "ab" for n in (0, HALF - 1)}) == 1


def test_a_device_past_the_cap_is_set_aside_and_its_login_goes_on() -> None:
    people = People(rules=MANY).see(*(page(f"d{n}", n, "u1") for n in range(1_002)))

    assert people.stage.largest() == {"customer": 1_001}
    assert [told.reason for told in people.refused()] == ["limit", "limit"]
    assert people.customer_of("d1001-1001") == people.customer_of("d0-0")

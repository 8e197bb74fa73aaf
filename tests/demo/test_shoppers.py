from __future__ import annotations

from collections import Counter

import orjson
import pytest

from cartstream.demo.kinds import KINDS, Kind
from cartstream.demo.shoppers import HOURS, MOST_SHOPPERS, ORIGIN, Crowd, crowd
from cartstream.demo.story import Story
from cartstream.events.times import HOUR, MINUTE
from cartstream.fakes.push import subscription

BAND = 20 * MINUTE
SUBSCRIPTIONS = [subscription("http://127.0.0.1:1", f"sub{n}") for n in range(MOST_SHOPPERS)]


@pytest.fixture(scope="module")
def people() -> Crowd:
    return crowd(3, 400, SUBSCRIPTIONS, BAND)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(people: Crowd) -> None:
    again, other = crowd(3, 400, SUBSCRIPTIONS, BAND), crowd(4, 400, SUBSCRIPTIONS, BAND)

    assert (again.events, again.expected) == (people.events, people.expected)
    assert other.events != people.events


def test_every_kind_of_shopper_is_there(people: Crowd) -> None:
    assert set(people.kinds) == {kind.name for kind in KINDS}


def test_events_come_in_order_and_messages_within_the_hours_of_the_run(people: Crowd) -> None:
    times = [record.at for record in people.events]

    assert times == sorted(times)
    assert times[0] >= ORIGIN
    assert times[-1] < ORIGIN + HOURS * HOUR
    assert all(message.due <= ORIGIN + HOURS * HOUR for message in people.expected)


def test_some_events_come_twice_and_some_cannot_be_read(people: Crowd) -> None:
    counts = Counter(record.value for record in people.events)

    assert any(count == 2 for count in counts.values())
    assert b"{" in counts


def test_no_two_people_share_an_address() -> None:
    whole = crowd(1, MOST_SHOPPERS, SUBSCRIPTIONS, BAND)
    owners: dict[str, set[str]] = {}
    for record in whole.events:
        if b'"traits"' in record.value:
            event = orjson.loads(record.value)
            for name in ("email", "phone"):
                if name in event["traits"]:
                    owners.setdefault(event["traits"][name], set()).add(event["userId"])

    assert len(owners) > MOST_SHOPPERS // 2
    assert all(len(users) == 1 for users in owners.values())
    assert all(address.endswith("@example.test") or address[5:10] == "55501" for address in owners)


def test_every_channel_every_journey_and_every_step_is_expected(people: Crowd) -> None:
    assert {message.channel for message in people.expected} == {"email", "sms", "push"}
    assert {(message.journey, message.step) for message in people.expected} == {
        ("cart_abandonment", "reminder"),
        ("cart_abandonment", "offer"),
        ("checkout_abandonment", "reminder"),
        ("checkout_abandonment", "offer"),
        ("browse_abandonment", "reminder"),
        ("exit_intent", "nudge"),
    }


def test_a_run_too_short_for_the_guard_band_is_refused() -> None:
    with pytest.raises(RuntimeError, match="give the run more seconds"):
        crowd(1, len(KINDS), SUBSCRIPTIONS, 12 * HOUR)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_kind_is_longer_than_it_says(kind: Kind) -> None:
    for seed in range(5):
        from random import Random

        from tests.demo.tales import TEN, person

        story = Story(person("email"), Random(seed), TEN)
        kind.play(story)

        assert story.acts[-1].at - TEN < kind.hours * HOUR

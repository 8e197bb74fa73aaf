"""`cartstream identity explain`: the events that link two identifiers, from recorded events and from the live directory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from cartstream.errors import ConfigError, Unavailable
from cartstream.events.records import Identifier
from cartstream.events.times import iso
from cartstream.identity.explain import chain, explain
from cartstream.identity.nodes import Tie, identifier_name
from cartstream.identity.redis_directory import RedisDirectory
from cartstream.identity.stage import IdentityStage
from cartstream.identity.state import anonymous_customer
from cartstream.replay.driver import Pipeline
from cartstream.runtime.redis_store import connect
from tests.identity.people import HASH, T0, People, device, email, feed, identify, page, settings, user
from tests.identity.recorded import identity, json_of, written

ADDRESS = "ann@example.test"
EVENTS = (
    page("d1", 0),
    page("d1", 10, "u1"),
    identify("d1", 20, "u1", email=ADDRESS),
    identify("d7", 30, email=ADDRESS),
    page("d7", 40, "u1"),
    page("d9", 50),
)
CHAIN = [
    {"kind": "link", "event_id": "d1-20", "at": iso(T0 + 20_000), "together": [user("u1"), email(ADDRESS)]},
    {"kind": "link", "event_id": "d7-30", "at": iso(T0 + 30_000), "together": [email(ADDRESS), device("d7")]},
]


def test_the_chain_of_events_is_told_from_recorded_events(tmp_path: Path) -> None:
    answer = identity("explain", "user_id:u1", "device:d7", "--input", written(tmp_path / "in.jsonl", *EVENTS))
    assert answer.exit_code == 0
    assert answer.stdout.splitlines() == [
        f"user_id:u1 and device:d7 are {anonymous_customer('d1')}",
        f"{iso(T0 + 20_000)}  d1-20  user_id:u1 + {email(ADDRESS)}",
        f"{iso(T0 + 30_000)}  d7-30  {email(ADDRESS)} + device:d7",
    ]


def test_what_one_event_showed_together_is_one_link(tmp_path: Path) -> None:
    """Its e-mail address and its device are tied to its user each."""
    path = written(tmp_path / "in.jsonl", identify("d1", 5, "u1", email=ADDRESS))
    _, *links = json_of(identity("explain", email(ADDRESS), "device:d1", "--input", path, "--json"))
    assert links == [
        {"kind": "link", "event_id": "d1-5", "at": iso(T0 + 5_000), "together": [email(ADDRESS), user("u1"), device("d1")]},
    ]


@pytest.mark.parametrize("written_as", [f"email:{ADDRESS}", "email: Ann@Example.test ", email(ADDRESS)])
def test_an_address_is_found_by_any_spelling_and_never_printed(tmp_path: Path, written_as: str) -> None:
    path = written(tmp_path / "in.jsonl", *EVENTS)
    for options in ([], ["--json"]):
        answer = identity("explain", written_as, "device:d7", "--input", path, *options)
        assert answer.exit_code == 0
        assert email(ADDRESS) in answer.stdout
        assert "example.test" not in answer.output.lower()


@pytest.mark.parametrize("kind", ["user_id", "loyalty_id"])
def test_an_id_that_is_an_address_is_found_by_it(kind: str, tmp_path: Path) -> None:
    event = page("d1", 1, ADDRESS) if kind == "user_id" else identify("d1", 1, loyaltyId=ADDRESS)
    answer = identity("explain", f"{kind}:{ADDRESS}", "device:d1", "--input", written(tmp_path / "in.jsonl", event))
    assert answer.exit_code == 0
    assert f"{kind}:{HASH('email', ADDRESS)} and device:d1 are" in answer.stdout
    assert ADDRESS not in answer.output


def test_who_is_not_linked_is_told_with_the_links_that_were_refused(tmp_path: Path) -> None:
    events = (*EVENTS, page("d2", 60, "u2"), page("d1", 70, "u2"))
    answer = identity("explain", "user_id:u1", "user_id:u2", "--input", written(tmp_path / "in.jsonl", *events))
    assert answer.exit_code == 1
    assert answer.stdout.splitlines() == [
        f"user_id:u1 is {anonymous_customer('d1')}, user_id:u2 is {anonymous_customer('d2')}: nothing links them",
        f"{iso(T0 + 70_000)}  d1-70  refused device:d1 (unique, user_id)",
    ]


def test_a_device_on_which_nobody_is_known_is_nobodys(tmp_path: Path) -> None:
    path = written(tmp_path / "in.jsonl", *EVENTS)
    assert json_of(identity("explain", "user_id:u1", "device:d9", "--input", path, "--json")) == [
        {"kind": "answer", "identifiers": [user("u1"), device("d9")], "customers": [anonymous_customer("d1"), None], "linked": False}
    ]
    assert identity("explain", "user_id:u1", "device:d9", "--input", path).stdout == "device:d9: known of nobody\n"


def test_another_format_is_read_like_any_replay(tmp_path: Path) -> None:
    lines = [{"event_name": "page_view", "event_timestamp": (T0 + n) * 1_000, "user_pseudo_id": f"p{n}", "user_id": "u1"} for n in range(2)]
    path = written(tmp_path / "in.jsonl", *lines)
    answer = identity("explain", "device:p0", "device:p1", "--input", path, "--format", "ga4", "--json")
    assert [link["together"] for link in json_of(answer)[1:]] == [[device("p0"), user("u1")], [user("u1"), device("p1")]]


@pytest.fixture
def live(redis_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A directory in Redis that has seen EVENTS and a refusal; the prefix of its keys."""
    monkeypatch.setenv("CARTSTREAM_REDIS_URL", redis_url)
    monkeypatch.setenv("CARTSTREAM_PREFIX", topic_prefix)
    with connect(redis_url) as client:
        directory = RedisDirectory(client, topic_prefix, lambda kind, address: b"sealed", 1_000, news_s=0)
        feed(Pipeline([IdentityStage(settings(), directory, None)]), *EVENTS, page("d2", 60, "u2"), page("d1", 70, "u2"))
    return topic_prefix


def test_the_live_directory_tells_the_same_chain_and_stays_as_it_is(live: str, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        names = sorted(bytes(name) for name in client.scan_iter(f"{live}*"))
        before = [client.dump(name) for name in names]
        answer = identity("explain", "user_id:u1", "device:d7", "--json")
        assert json_of(answer)[1:] == CHAIN
        assert answer.exit_code == 0
        assert sorted(bytes(name) for name in client.scan_iter(f"{live}*")) == names
        assert [client.dump(name) for name in names] == before


def test_the_live_directory_needs_no_keys_for_ids(live: str) -> None:
    answer = identity("explain", "user_id:u1", "user_id:u2", CARTSTREAM_HASH_KEY="")
    assert answer.exit_code == 1
    assert answer.stdout == f"user_id:u1 is {anonymous_customer('d1')}, user_id:u2 is {anonymous_customer('d2')}: nothing links them\n"
    assert isinstance(identity("explain", "user_id:u1", f"email:{ADDRESS}", CARTSTREAM_HASH_KEY="").exception, ConfigError)


def test_without_redis_it_says_so() -> None:
    answer = identity("explain", "user_id:u1", "device:d7", CARTSTREAM_REDIS_URL="redis://127.0.0.1:1/0")
    assert isinstance(answer.exception, Unavailable)


@pytest.mark.parametrize("wrong", [ADDRESS, f"mail:{ADDRESS}", "email:ann at example", "phone:12", "push:token", "user_id:", "u1"])
def test_what_is_no_identifier_is_a_mistake_that_is_not_repeated(wrong: str, tmp_path: Path) -> None:
    answer = identity("explain", wrong, "device:d7", "--input", written(tmp_path / "in.jsonl", *EVENTS))
    assert isinstance(answer.exception, ConfigError)
    assert "ann" not in str(answer.exception)


def test_one_who_was_stored_before_ties_were_kept_is_linked_without_a_chain() -> None:
    people = People().see(*EVENTS)
    people.directory.nodes[anonymous_customer("d1")].ties.clear()
    found = explain(people.directory, Identifier("user_id", "u1"), Identifier("device", "d7"))
    assert found.links is None
    assert found.lines() == [f"user_id:u1 and device:d7 are {anonymous_customer('d1')}, who was stored before links were kept: see --input"]


def test_the_shortest_way_is_told_and_of_two_the_earlier() -> None:
    ties = [Tie("a", "b", "1", 1), Tie("b", "c", "2", 2), Tie("c", "d", "3", 3), Tie("d", "a", "5", 5), Tie("x", "a", "4", 4)]
    ties += [Tie("d", "x", "6", 4), Tie("a", "", "7", 0)]
    assert [link.event_id for link in chain(ties, "a", "c") or []] == ["1", "2"]
    assert [link.together for link in chain(ties, "c", "x") or []] == [["c", "d"], ["d", "x"]]
    assert chain(ties, "a", "y") is None


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=25))
def test_whoever_is_one_customer_has_a_chain_between_any_two_identifiers(told: list[tuple[int, int, int]]) -> None:
    """Each link's identifiers were in the event that it names, and the links hold together."""
    events = [
        identify(f"d{a}", n, f"u{b}" if b < 3 else None, email=f"e{c}@example.test" if c < 4 else None) for n, (a, b, c) in enumerate(told)
    ]
    shown = {
        str(event["messageId"]): {
            device(event["anonymousId"]),
            *([user(event["userId"])] if "userId" in event else []),
            *([email(event["traits"]["email"])] if event["traits"]["email"] else []),
        }
        for event in events
    }
    people = People().see(*events)
    for node in people.directory.nodes.values():
        names = [identifier_name(one) for one in (*node.identifiers, *(Identifier("device", name) for name in node.devices))]
        for name in names[1:]:
            links = chain(node.ties, names[0], name)
            assert links
            assert (links[0].together[0], links[-1].together[-1]) == (names[0], name)
            assert all(one.together[-1] == other.together[0] for one, other in pairwise(links))
            assert all(set(link.together) <= shown[link.event_id] for link in links)

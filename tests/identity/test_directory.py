"""One contract for the directory, kept by the one in memory and the one in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import msgspec
import pytest
from msgspec.structs import replace
from redis import Redis

from cartstream.errors import Unavailable
from cartstream.events.clicks import EARLIEST
from cartstream.events.read_model import ERASED, Contact, contact_key, contact_of, encode, node_key
from cartstream.events.records import Identifier
from cartstream.identity import layouts
from cartstream.identity.correction import Erase, erasure, unlinking
from cartstream.identity.directory import Directory, MemoryDirectory
from cartstream.identity.graph import EARLIER_KEPT
from cartstream.identity.layouts import decode_node
from cartstream.identity.nodes import Expected, Linked, LinkRequest, Tomb, identifier_named
from cartstream.identity.redis_directory import CHUNK, RedisDirectory
from cartstream.identity.state import anonymous_customer
from cartstream.runtime.redis_store import connect

TTL_S = 1_000


def seal(kind: str, address: str) -> bytes:
    return f"sealed {kind}".encode()


@pytest.fixture(params=["memory", "redis_url", "cluster_url"])
def directory(request: pytest.FixtureRequest, topic_prefix: str) -> Iterator[Directory]:
    if request.param == "memory":
        yield MemoryDirectory(seal)
        return
    with connect(request.getfixturevalue(request.param)) as client:
        yield RedisDirectory(client, topic_prefix, seal, TTL_S, news_s=0)


def request_of(
    device: str, at: int, user: str | None = None, *, email: str | None = None, consent: dict[str, bool] | None = None
) -> LinkRequest:
    identifiers = [Identifier("user_id", user)] if user else []
    identifiers += [Identifier("email", email)] if email else []
    addresses = {"email": f"{email}@example.test"} if email else {}
    return LinkRequest(f"{device}-{at}", at, device, anonymous_customer(device), at, identifiers, addresses, consent or {})


def tell(directory: Directory, *requests: LinkRequest) -> list[Linked]:
    return directory.link(requests)


def test_somebody_new_is_the_customer_that_the_device_was(directory: Directory) -> None:
    (linked,) = tell(directory, request_of("d1", 5, "u1"))
    assert linked.customer_id == anonymous_customer("d1")
    assert (linked.owns_device, linked.merges, linked.refused) == (True, [], [])
    assert linked.customer is not None
    assert linked.customer.identifiers == [Identifier("user_id", "u1")]


def test_two_who_are_one_merge_into_the_older(directory: Directory) -> None:
    _, linked = tell(directory, request_of("d1", 5, "u1"), request_of("d2", 7, "u1"))

    assert linked.customer_id == anonymous_customer("d1")
    assert [(merge.loser, merge.survivor) for merge in linked.merges] == [(anonymous_customer("d2"), anonymous_customer("d1"))]
    assert directory.roots([anonymous_customer("d2"), anonymous_customer("d1"), "nobody"]) == {
        anonymous_customer("d2"): anonymous_customer("d1")
    }


@pytest.mark.parametrize("together", [True, False])
def test_a_link_told_again_gives_the_same_answer(directory: Directory, together: bool) -> None:
    requests = [request_of("d1", 5, "u1"), request_of("d2", 7, "u1", email="e", consent={"email": True})]
    first = tell(directory, *requests) if together else [tell(directory, request)[0] for request in requests]

    again = tell(directory, requests[1])

    assert again == first[1:]
    assert again[0].merges
    assert again[0].customer is not None


def test_an_earlier_link_told_again_says_what_was_true_then(directory: Directory) -> None:
    """A batch in which somebody gives consent and takes it back, done again after a crash."""
    requests = [request_of("d1", at, "u1", consent={"email": at != 9}) for at in (5, 9, 12)]
    first = tell(directory, *requests)

    assert tell(directory, *requests) == first
    assert [linked.customer.consent for linked in first if linked.customer] == [{"email": True}, {"email": False}, {"email": True}]


def test_of_very_many_changes_only_the_last_are_told_again(directory: Directory) -> None:
    requests = [request_of("d1", at, "u1", consent={"email": at % 2 == 0}) for at in range(100)]
    tell(directory, *requests)

    told = [linked.customer is not None for linked in tell(directory, *requests)]

    assert told == [False] * (len(requests) - EARLIER_KEPT - 1) + [True] * (EARLIER_KEPT + 1)


def test_a_merge_told_again_after_the_survivor_was_merged_too_is_still_told(directory: Directory) -> None:
    """The process that caused the first merge died before it could pass it on; meanwhile another one went further."""
    lost = request_of("d2", 20, "u2")
    tell(directory, request_of("d1", 10, "u2"), lost, request_of("d0", 1, email="e"), request_of("d1", 30, "u2", email="e"))

    (again,) = tell(directory, lost)

    assert [(merge.loser, merge.survivor) for merge in again.merges] == [(anonymous_customer("d2"), anonymous_customer("d0"))]


def test_the_holder_of_an_identifier_is_whoever_its_customer_became(directory: Directory) -> None:
    tell(directory, request_of("d1", 5, "u1"), request_of("d2", 6, email="e"), request_of("d2", 7, "u1"))
    asked = [Identifier("email", "e"), Identifier("device", "d2"), Identifier("user_id", "u1"), Identifier("user_id", "u2")]

    found = directory.holders(asked)

    assert {name: node.customer_id for name, node in found.items()} == dict.fromkeys(
        ("email:e", "device:d2", "user_id:u1"), anonymous_customer("d1")
    )
    assert found["email:e"].devices == ["d1", "d2"]
    assert directory.holders([]) == {}


def test_a_shared_device_is_not_guessed(directory: Directory) -> None:
    _, linked = tell(directory, request_of("d1", 5, "u1"), request_of("d1", 6, "u2"))
    assert linked.customer_id != anonymous_customer("d1")
    assert (linked.owns_device, [refusal.identifier.type for refusal in linked.refused], linked.merges) == (False, ["device"], [])


def test_a_customer_merged_many_times_over_is_still_found(directory: Directory) -> None:
    """Each older one swallows the one before: a chain of thirty."""
    for n in range(30):
        tell(directory, request_of(f"d{n}", 1_000 - n, email=f"e{n}"))
    for n in range(29):
        tell(directory, LinkRequest(f"m{n}", 2_000 + n, f"d{n}", anonymous_customer(f"d{n}"), 1_000 - n, [Identifier("push", f"p{n}")]))
        joined = tell(
            directory,
            LinkRequest(f"j{n}", 3_000 + n, f"d{n + 1}", anonymous_customer(f"d{n + 1}"), 999 - n, [Identifier("push", f"p{n}")]),
        )
        if joined[0].refused:
            break
    last = anonymous_customer(f"d{n}")

    assert directory.roots([anonymous_customer("d0")]) == {anonymous_customer("d0"): last}
    (linked,) = tell(directory, LinkRequest("again", 4_000, "d0", anonymous_customer("d0"), 1_000, []))
    assert linked.customer_id == last


def test_merges_are_told_to_everybody_who_listens(directory: Directory) -> None:
    directory.news()
    tell(directory, request_of("d1", 5, "u1"), request_of("d2", 7, "u1"))

    assert directory.news() == {anonymous_customer("d2"): anonymous_customer("d1")}
    assert directory.news() == {}


def test_news_of_one_process_reach_another(redis: Redis) -> None:
    one, other = RedisDirectory(redis, "t.", seal, TTL_S, news_s=0), RedisDirectory(redis, "t.", seal, TTL_S, news_s=0)
    assert other.news() == {}
    tell(one, request_of("d1", 5, "u1"), request_of("d2", 7, "u1"))
    assert other.news() == {anonymous_customer("d2"): anonymous_customer("d1")}


def test_the_public_read_model_has_sealed_contacts_and_points_to_the_survivor(redis: Redis) -> None:
    directory = RedisDirectory(redis, "t.", seal, TTL_S, news_s=0)
    tell(directory, request_of("d1", 5, "u1", email="e", consent={"email": True}), request_of("d2", 7, "u1"))

    kept = contact_of(_raw(redis, "d1"))
    assert (kept.consent, kept.email, kept.phone, kept.merged_into) == ({"email": True}, b"sealed email", None, None)
    assert contact_of(_raw(redis, "d2")).merged_into == anonymous_customer("d1")


def _raw(redis: Redis, device: str, prefix: str = "t.") -> bytes:
    found = redis.get(prefix + node_key(anonymous_customer(device)))
    assert isinstance(found, bytes)
    return found


_KNOWN_EARLIER = (
    request_of("d1", 5, "u1", email="e", consent={"email": True}),
    request_of("d2", 7, "u1"),
    request_of("d3", 8, "u3", email="f"),
)


class Earlier(RedisDirectory):
    """In which those of `_KNOWN_EARLIER` are as the release before would have them."""

    def __init__(self, client: Redis, prefix: str) -> None:
        super().__init__(client, prefix, seal, TTL_S, news_s=0)
        self._client, self._before = client, prefix
        tell(self, *map(_later, _KNOWN_EARLIER))
        for device in ("d1", "d2", "d3"):
            node = decode_node(anonymous_customer(device), _raw(client, device, prefix))
            client.set(prefix + node_key(node.customer_id), msgspec.msgpack.encode(node), ex=TTL_S)
            client.set(prefix + contact_key(node.customer_id), encode(layouts.contact_of(node)), ex=TTL_S)
        for name in ("user_id:u1", "email:e", "device:d1", "device:d2", "user_id:u3", "email:f", "device:d3"):
            key = f"{prefix}{{identity}}:id:{name}"
            client.set(key, layouts.decode_owner(client.get(key)), ex=TTL_S)  # type: ignore[arg-type]

    def contact(self, device: str) -> Contact:
        return contact_of(_raw(self._client, device, self._before))

    def apart(self) -> list[str]:
        """Whose contact is still a key of its own."""
        return [device for device in ("d1", "d2", "d3") if self._client.exists(self._before + contact_key(anonymous_customer(device)))]


@pytest.fixture(params=["redis_url", "cluster_url"])
def earlier(request: pytest.FixtureRequest, topic_prefix: str) -> Iterator[Earlier]:
    with connect(request.getfixturevalue(request.param)) as client:
        yield Earlier(client, topic_prefix)


def test_what_an_earlier_release_wrote_is_read_and_moves_with_its_next_write(earlier: Earlier) -> None:
    asked = [Identifier("email", "e"), Identifier("device", "d2")]
    known = earlier.holders(asked)
    assert {node.customer_id for node in known.values()} == {anonymous_customer("d1")}
    assert earlier.roots([anonymous_customer("d2")]) == {anonymous_customer("d2"): anonymous_customer("d1")}

    (again,) = tell(earlier, _later(_KNOWN_EARLIER[1]))
    assert [merge.loser for merge in again.merges] == [anonymous_customer("d2")]
    assert (earlier.holders(asked), earlier.apart()) == (known, ["d1", "d2", "d3"])

    (linked,) = tell(earlier, _later(request_of("d4", 9, "u1", consent={"email": False})))
    assert linked.customer_id == anonymous_customer("d1")
    assert earlier.contact("d1") == Contact({"email": False}, b"sealed email")
    assert earlier.apart() == ["d2", "d3"]


def test_whoever_is_erased_leaves_no_contact_of_an_earlier_release(earlier: Earlier) -> None:
    earlier.correct(_erase("user_id:u1", 10))
    assert earlier.contact("d1") == Contact(merged_into=ERASED)
    assert earlier.apart() == ["d2", "d3"]


def test_every_customer_and_identifier_expires(redis: Redis) -> None:
    tell(RedisDirectory(redis, "t.", seal, TTL_S, news_s=0), request_of("d1", 5, "u1", email="e"), request_of("d2", 7, "u1"))
    lasting = [bytes(name) for name in redis.scan_iter() if not 0 < int(str(redis.ttl(name))) <= TTL_S]
    assert lasting == [b"t.{identity}:merges"]


def test_no_address_is_stored_in_clear(redis: Redis) -> None:
    tell(RedisDirectory(redis, "t.", seal, TTL_S, news_s=0), request_of("d1", 5, "u1", email="secret"))
    everything = b"".join(bytes(redis.dump(name) or b"") for name in redis.scan_iter())
    assert b"example.test" not in everything


def test_processes_that_link_the_same_people_at_once_agree(redis_url: str, redis: Redis) -> None:
    """Four at a time: each device is told by one, each login by all."""
    answers: dict[str, str] = {}

    def work(number: int) -> None:
        with connect(redis_url) as client:
            directory = RedisDirectory(client, "t.", seal, TTL_S)
            for n in range(30):
                tell(directory, request_of(f"d{number}-{n}", 100 * n + number, f"u{n}"))
            answers.update(directory.roots([anonymous_customer(f"d{number}-{n}") for n in range(30)]))

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roots = RedisDirectory(redis, "t.", seal, TTL_S, news_s=0).roots([anonymous_customer(f"d{k}-{n}") for k in range(4) for n in range(30)])

    assert roots == {anonymous_customer(f"d{k}-{n}"): anonymous_customer(f"d0-{n}") for k in range(1, 4) for n in range(30)}


def test_without_redis_every_question_is_unavailable() -> None:
    with connect("redis://127.0.0.1:1/0", timeout_s=0.5) as client:
        directory = RedisDirectory(client, "t.", seal, TTL_S)
        for ask in (
            lambda: directory.link([request_of("d", 1, "u")]),
            lambda: directory.roots(["c"]),
            lambda: directory.holders([Identifier("user_id", "u")]),
            directory.news,
        ):
            with pytest.raises(Unavailable, match="identity directory"):
                ask()


def test_one_that_forgets_hears_only_of_what_comes_then(directory: Directory) -> None:
    directory.news()
    tell(directory, request_of("d1", 5, "u1"), request_of("d2", 7, "u1"))
    directory.forget()
    directory.news()
    tell(directory, request_of("d3", 5, "u2"), request_of("d4", 7, "u2"))

    assert directory.news() == {anonymous_customer("d4"): anonymous_customer("d3")}


def _erase(name: str, at: int) -> Erase:
    return erasure(f"erase-{at}", EARLIEST + at, identifier_named(name), [])


def _later(request: LinkRequest) -> LinkRequest:
    return replace(request, at=EARLIEST + request.at, device_first_seen=EARLIEST + request.device_first_seen)


def test_whoever_is_erased_is_found_by_nothing_and_told_of_by_all(directory: Directory) -> None:
    asked = [Identifier("user_id", "u1"), Identifier("email", "e"), Identifier("device", "d1"), Identifier("device", "d2")]
    tell(directory, *map(_later, (request_of("d1", 5, "u1", email="e", consent={"email": True}), request_of("d2", 7, "u1"))))
    directory.news()
    old = anonymous_customer("d1")

    corrected = directory.correct(_erase("email:e", 10))

    assert (corrected.customer_id, corrected.identifiers, corrected.devices, corrected.again) == (old, 2, 2, False)
    assert corrected.customers == [old, anonymous_customer("d2")]
    assert directory.holders(asked) == {}
    assert set(directory.tombs(asked).values()) == {Tomb(EARLIEST + 10, old)}
    assert directory.news() == {old: ERASED}
    assert directory.roots([old, anonymous_customer("d2")]) == {old: ERASED, anonymous_customer("d2"): ERASED}
    assert directory.take_erased() == {old: EARLIEST + 10, anonymous_customer("d2"): EARLIEST + 10}
    assert directory.correct(_erase("email:e", 10)) == replace(corrected, again=True)


def test_after_an_erasure_event_time_says_whose_an_event_is(directory: Directory) -> None:
    tell(directory, _later(request_of("d1", 5, "u1", email="e")))
    directory.correct(_erase("user_id:u1", 10))

    late, later = tell(directory, *map(_later, (request_of("d3", 9, "u1", email="f"), request_of("d1", 11, "u1", email="e"))))

    assert (late.customer_id, late.erased_at, late.customer) == (anonymous_customer("d1"), EARLIEST + 10, None)
    assert [merge.loser for merge in late.merges] == [anonymous_customer("d3")]
    assert tell(directory, _later(request_of("d3", 9, "u1", email="f"))) == [late]
    assert later.erased_at == 0
    assert later.customer_id == anonymous_customer("d1", EARLIEST + 10)
    assert later.customer is not None
    assert later.customer.consent == {}
    assert {*directory.tombs([Identifier("email", "f")]).values()} == {Tomb(EARLIEST + 10, anonymous_customer("d1"))}


def test_an_unlink_splits_a_customer_and_older_events_do_not_join_them(directory: Directory) -> None:
    tell(directory, *map(_later, (request_of("d1", 5, "u1"), request_of("d2", 7, "u1", email="e"))))
    command = unlinking("unlink", EARLIEST + 10, ["device:d2", "email:e"], ["user_id:u1", "device:d1"])

    corrected = directory.correct(command)

    old = anonymous_customer("d1")
    assert (corrected.customer_id, corrected.customers, corrected.again) == (old, [old], False)
    assert corrected.places == {"device:d2": corrected.into, "email:e": corrected.into, "user_id:u1": old, "device:d1": old}
    assert [record.customer_id for record in corrected.records] == sorted([old, str(corrected.into)])
    assert directory.correct(command) == replace(corrected, again=True)
    late, later = tell(directory, *map(_later, (request_of("d2", 9, "u1"), request_of("d2", 11, "u1"))))
    assert [refusal.reason for refusal in late.refused] == ["unlinked"]
    assert not late.owns_device
    assert later.owns_device
    assert [merge.loser for merge in later.merges] == [corrected.into]


@pytest.mark.parametrize("place", [CHUNK - 1, CHUNK, CHUNK + 40])
def test_what_follows_an_answer_that_is_not_expected_is_left_undone(directory: Directory, place: int) -> None:
    card = Identifier("loyalty_id", "L1")
    requests = [replace(request_of(f"d{n}", n, "u1"), expected=Expected(frozenset())) for n in range(1, 252)]
    for at, user in ((0, "u1"), (place, "u2")):
        requests[at] = replace(requests[at], identifiers=[Identifier("user_id", user), card])
    answers = directory.link(requests)

    assert len(answers) == place + 1
    assert [refusal.identifier for refusal in answers[-1].refused] == [card]
    assert directory.holders([Identifier("device", "d251")]) == {}
    requests[place] = replace(requests[place], expected=Expected(frozenset({"loyalty_id:L1"})))
    assert len(directory.link(requests[place:])) == 251 - place


def test_nothing_in_redis_tells_of_who_was_erased(redis: Redis) -> None:
    directory = RedisDirectory(redis, "t.", seal, TTL_S, news_s=0)
    tell(directory, _later(request_of("device-1", 5, "user-1", email="secret", consent={"email": True})))
    directory.correct(_erase("user_id:user-1", 10))

    kept = b"".join(bytes(name) + (redis.dump(name) or b"") for name in redis.scan_iter("t.*"))
    assert all(word not in kept for word in (b"device-1", b"user-1", b"secret", b"sealed"))
    assert contact_of(_raw(redis, "device-1")) == Contact(merged_into=ERASED)
    assert all(redis.ttl(name) > 0 for name in redis.scan_iter("t.{identity}:*") if not bytes(name).endswith(b":merges"))

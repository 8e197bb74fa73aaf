"""Redis goes back in time under a running identity: nobody is linked by what has not happened yet."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from cartstream.errors import Unavailable
from cartstream.events import avro
from cartstream.events.records import Identifier, Merge
from cartstream.identity.nodes import LinkRequest
from cartstream.identity.redis_directory import RedisDirectory
from cartstream.identity.stage import IdentityStage
from cartstream.identity.state import anonymous_customer
from cartstream.runtime.kafka import ensure_topics
from cartstream.runtime.redis_lives import watched
from cartstream.runtime.redis_store import RedisStore, connect
from tests.identity.people import Event, page, settings
from tests.runtime.live import TTL_S, Place, running
from tests.support import RealKafka, StoppableRedis

LAPTOP, PHONE = anonymous_customer("laptop"), anonymous_customer("phone")


@pytest.fixture
def redis_server() -> Iterator[StoppableRedis]:
    with StoppableRedis() as server:
        yield server


def seal(kind: str, address: str) -> bytes:
    return b"sealed"


def put(place: Place, *events: Event) -> None:
    place.put(*map(orjson.dumps, events))


def merges(place: Place) -> list[tuple[str, str]]:
    told = [avro.codec().decode(message.value() or b"") for message in place.messages() if (message.value() or b"")[:1] == b"\0"]
    return [(merge.loser, merge.survivor) for merge in told if isinstance(merge, Merge)]


def clicks(place: Place) -> list[tuple[str, str]]:
    """Each click's customer and id, in the order in which they were told."""
    told = [message for message in place.messages() if (message.value() or b"")[:1] == b"{"]
    return [((message.key() or b"").decode(), orjson.loads(message.value() or b"")["messageId"]) for message in told]


def test_a_login_that_is_read_before_lost_work_is_done_again_joins_what_it_joins_without_the_loss(
    kafka: RealKafka, redis_server: StoppableRedis, topic_prefix: str
) -> None:
    """The shopper's first login is among what Redis loses. The second one, on the phone, is read by an identity that still knows of it."""
    place = Place(kafka, redis_server.url, topic_prefix, stage="identity")
    ensure_topics(kafka.address, topic_prefix, 1, 1)
    first, lost = [page("other", 0)], [page("laptop", 1, "u"), page("phone", 2)]
    later = [page("phone", 3), page("phone", 4, "u"), page("phone", 5)]
    with connect(place.redis_url, timeout_s=2.0) as client:
        lives = watched(client)
        directory = RedisDirectory(client, place.prefix, seal, TTL_S, lives=lives)
        store = RedisStore(client, place.prefix, "identity", TTL_S, lives=lives)
        with running(place, store=store, stage=IdentityStage(settings(), directory, None)):
            put(place, *first)
            place.await_committed(1)
            kept = redis_server.keep()
            put(place, *lost)
            place.await_committed(3)
            redis_server.kill()
            redis_server.put_back(kept)
            redis_server.start()
            put(place, *later)
            place.await_committed(6)

    events = [*first, *lost, *later]
    customers = [anonymous_customer("other"), LAPTOP, PHONE, PHONE, PHONE, LAPTOP]
    assert clicks(place) == [(customer, event["messageId"]) for customer, event in zip(customers, events, strict=True)]
    assert merges(place) == [(PHONE, LAPTOP)]


def test_the_directory_changes_nothing_until_somebody_has_looked_what_a_restarted_redis_has_lost(redis_server: StoppableRedis) -> None:
    def request(number: int) -> LinkRequest:
        return LinkRequest(f"e{number}", number, f"d{number}", anonymous_customer(f"d{number}"), number, [Identifier("user_id", "u")])

    with connect(redis_server.url, timeout_s=2.0) as client:
        lives = watched(client)
        directory = RedisDirectory(client, "t.", seal, TTL_S, lives=lives)
        client.ping()
        lives.dispel(lives.doubt)
        directory.link([request(1)])
        redis_server.kill()
        redis_server.start()

        with pytest.raises(Unavailable, match="started again"):
            directory.link([request(2)])
        assert client.get("t.{identity}:id:device:d2") is None
        lives.dispel(lives.doubt)
        (linked,) = directory.link([request(2)])
    assert linked.customer_id == anonymous_customer("d1")

"""`cartstream identity erase`: what it says before. What becomes of the shopper in all services: see `test_live_commands.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cartstream.errors import ConfigError, Unavailable
from cartstream.events.times import iso
from cartstream.identity.correction import erasure
from cartstream.identity.nodes import identifier_named
from cartstream.identity.preview import NobodyKnown
from cartstream.identity.redis_directory import RedisDirectory
from cartstream.identity.stage import IdentityStage
from cartstream.identity.state import anonymous_customer
from cartstream.replay.driver import Pipeline
from cartstream.runtime.redis_store import connect
from tests.identity.people import HASH, T0, email, feed, identify, page, settings, user
from tests.identity.recorded import identity, json_of

ADDRESS = "ann@example.test"
EVENTS = (page("d1", 0), identify("d1", 10, "ann", email=ADDRESS), page("d2", 20, "ann"), page("d3", 30, "bob"))


@pytest.fixture
def directory(redis_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisDirectory]:
    """In Redis; it has seen EVENTS. No Kafka is there."""
    monkeypatch.setenv("CARTSTREAM_REDIS_URL", redis_url)
    monkeypatch.setenv("CARTSTREAM_PREFIX", topic_prefix)
    monkeypatch.setenv("CARTSTREAM_BROKERS", "127.0.0.1:1")
    with connect(redis_url) as client:
        made = RedisDirectory(
            client, topic_prefix, lambda kind, address: b"sealed", 1_000, news_s=0, conceal=lambda one: HASH(one.type, one.value)
        )
        feed(Pipeline([IdentityStage(settings(), made, None)]), *EVENTS)
        yield made


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("name", [user("ann"), f"email:{ADDRESS}", email(ADDRESS), "device:d2"])
def test_a_dry_run_says_whose_it_is_and_what_they_have(name: str) -> None:
    answer = identity("erase", name, "--dry-run")
    assert answer.exit_code == 0
    assert f"is {anonymous_customer('d1')} (1 email, 1 user_id, 2 device, merged from 2 customers)" in answer.stdout
    assert ADDRESS not in answer.output

    (said,) = json_of(identity("erase", name, "--dry-run", "--json"))
    assert (said["customer"], said["held"], said["done"], said["partitions"]) == (
        anonymous_customer("d1"),
        {"email": 1, "user_id": 1, "device": 2},
        False,
        0,
    )


def test_what_was_erased_is_said_to_be_and_nothing_is_written(directory: RedisDirectory) -> None:
    directory.correct(erasure("e", T0 + 40_000, identifier_named(user("ann")), []))
    for name in (user("ann"), f"email:{ADDRESS}"):
        answer = identity("erase", name)
        assert (answer.exit_code, answer.stdout.count("was erased at " + iso(T0 + 40_000))) == (0, 1)


@pytest.mark.usefixtures("directory")
def test_who_is_not_known_is_a_mistake_but_for_a_device_without_a_login() -> None:
    assert isinstance(identity("erase", user("eve")).exception, NobodyKnown)
    assert isinstance(identity("erase", "user:ann").exception, ConfigError)
    assert isinstance(identity("erase", user("ann"), CARTSTREAM_HASH_KEY="").exception, ConfigError)
    assert f"device:d9 is {anonymous_customer('d9')} (1 device)" in identity("erase", "device:d9", "--dry-run").stdout


@pytest.mark.usefixtures("directory")
def test_without_kafka_it_says_so() -> None:
    assert isinstance(identity("erase", user("ann")).exception, Unavailable)

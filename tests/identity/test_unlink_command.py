"""`cartstream identity unlink`: what it says before, what it refuses, and that the live directory is split."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from cartstream.errors import Unavailable
from cartstream.events import topics
from cartstream.events.records import Identifier
from cartstream.identity.correction import Unlink, read_correction
from cartstream.identity.preview import NobodyKnown, NotLinked
from cartstream.identity.redis_directory import RedisDirectory
from cartstream.identity.state import anonymous_customer
from tests.identity.people import HASH, device, email, user
from tests.identity.recorded import identity, json_of
from tests.identity.test_erase_command import ADDRESS, directory
from tests.support import RealKafka

__all__ = ["directory"]


@pytest.mark.usefixtures("directory")
def test_a_dry_run_says_who_keeps_what() -> None:
    answer = identity("unlink", "device:d2", "user_id:ann", "--dry-run")
    assert answer.exit_code == 0
    assert answer.stdout.splitlines()[:2] == [
        f"{anonymous_customer('d1')} keeps user_id:ann, device:d1, {email(ADDRESS)}",
        "somebody new gets device:d2",
    ]
    (said,) = json_of(identity("unlink", f"email:{ADDRESS}", "user_id:ann", "--dry-run", "--json"))
    assert (said["moved"], said["kept"]) == ([email(ADDRESS)], [user("ann"), device("d1"), device("d2")])
    assert ADDRESS not in answer.output


@pytest.mark.usefixtures("directory")
def test_what_is_not_linked_or_by_way_of_others_is_refused_with_the_links_to_choose_from() -> None:
    assert isinstance(identity("unlink", "device:d9", "user_id:ann").exception, NobodyKnown)
    assert isinstance(identity("unlink", "device:d3", "user_id:ann").exception, NotLinked)
    assert isinstance(identity("unlink", "device:d2", "device:d2").exception, NotLinked)

    answer = identity("unlink", "device:d2", f"email:{ADDRESS}", "--dry-run")
    assert isinstance(answer.exception, NotLinked)
    said = str(answer.exception)
    assert "by way of others" in said
    assert f"`unlink device:d2 {user('ann')}`" in said
    assert f"`unlink {user('ann')} {email(ADDRESS)}`" in said


@pytest.mark.usefixtures("directory")
def test_without_kafka_it_says_so() -> None:
    assert isinstance(identity("unlink", "device:d2", "user_id:ann").exception, Unavailable)


def test_each_partition_gets_the_command_and_the_directory_splits_by_it(
    directory: RedisDirectory, kafka: RealKafka, topic_prefix: str
) -> None:
    topic = topic_prefix + topics.CLICKSTREAM
    kafka.create_topics({topic: 3})
    (said,) = json_of(identity("unlink", "device:d2", "user_id:ann", "--json", CARTSTREAM_BROKERS=kafka.address))
    assert said["partitions"] == 3

    commands = _read(kafka, topic, 3)
    assert sorted(command.copy for command in commands) == [False, True, True]
    assert len({directory.correct(command).into for command in commands * 2}) == 1
    held = directory.holders([Identifier("device", "d2"), Identifier("user_id", "ann"), Identifier("email", HASH("email", ADDRESS))])
    assert held[user("ann")].customer_id == held[email(ADDRESS)].customer_id == anonymous_customer("d1")
    assert held[device("d2")].customer_id not in (anonymous_customer("d1"), anonymous_customer("d2"))
    assert isinstance(identity("unlink", "device:d2", "user_id:ann").exception, NotLinked)


def _read(kafka: RealKafka, topic: str, count: int) -> list[Unlink]:
    settings = {"bootstrap.servers": kafka.address, "group.id": topic, "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    reader = Consumer(settings)
    reader.subscribe([topic])
    found = []
    for _ in range(300):
        message = reader.poll(0.1)
        if message is not None and message.error() is None:
            correction = read_correction(message.value() or b"")
            assert isinstance(correction, Unlink)
            found.append(correction)
        if len(found) == count:
            break
    reader.close()
    return found

"""A client that has lost every broker, as librdkafka has it when a metadata answer names topics and no broker."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from confluent_kafka import Consumer

from cartstream.embedded.child import free_port
from cartstream.runtime import lifeline
from cartstream.runtime.lifeline import STUCK_EXIT_CODE, Lifeline
from tests.support import RealKafka

LOST = """
import sys
from confluent_kafka import Consumer
from cartstream.runtime import lifeline
lifeline.QUIET_S = lifeline.ANSWER_S = 0.3
nowhere, brokers, topic = sys.argv[1:]
lost = lifeline.Lifeline(Consumer({"bootstrap.servers": nowhere, "group.id": "lost", "log_level": 0}), brokers, topic)
while True:
    lost.look(heard=False)
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "QUIET_S", 0.0)
    monkeypatch.setattr(lifeline, "ANSWER_S", 0.3)


def consumer(address: str) -> Consumer:
    return Consumer({"bootstrap.servers": address, "group.id": "lifeline", "log_level": 0})


def test_a_client_that_reaches_nobody_while_a_new_one_does_ends_its_process(kafka: RealKafka, topic_prefix: str) -> None:
    kafka.create_topics({topic_prefix + "clicks": 1})
    nowhere = f"127.0.0.1:{free_port()}"

    ended = subprocess.run([sys.executable, "-c", LOST, nowhere, kafka.address, topic_prefix + "clicks"], timeout=60, check=False)

    assert ended.returncode == STUCK_EXIT_CODE


def test_a_client_that_reaches_its_broker_is_left_alone(kafka: RealKafka, topic_prefix: str, quick: None) -> None:
    kafka.create_topics({topic_prefix + "clicks": 1})
    line = Lifeline(consumer(kafka.address), kafka.address, topic_prefix + "clicks")

    misses_nothing(line)


def test_while_nobody_reaches_a_broker_nobody_is_lost(quick: None) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    line = Lifeline(consumer(nowhere), nowhere, "clicks")

    misses_nothing(line)


def test_whoever_is_heard_is_not_asked(kafka: RealKafka, quick: None) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    line = Lifeline(consumer(nowhere), kafka.address, "clicks")
    began = time.monotonic()

    for _ in range(1_000):
        line.look(heard=True)

    assert time.monotonic() - began < 1.0


def misses_nothing(line: Lifeline) -> None:
    for _ in range(lifeline.MISSED + 1):
        line.look(heard=False)
        assert line.missed == 0

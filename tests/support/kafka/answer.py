"""Waiting until brokers answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

START_SECONDS = 60.0
ASK_SECONDS = 0.5


def wait_for_brokers(address: str, count: int, still_running: Callable[[], None] = lambda: None) -> None:
    """Return once `count` brokers are in the cluster's metadata.

    `still_running` is called between tries and raises if waiting longer is pointless. Raises TimeoutError after 60 s.
    """
    # A logger of its own: what librdkafka has to say about refused connections is expected here.
    silent = logging.getLogger("tests.support.kafka.answer")
    silent.setLevel(logging.CRITICAL)
    admin = AdminClient(
        {"bootstrap.servers": address, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}, logger=silent
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        still_running()
        try:
            if len(admin.list_topics(timeout=ASK_SECONDS).brokers) >= count:
                return
        except KafkaException:
            continue
    raise TimeoutError(f"Kafka at {address} does not answer with {count} broker(s) within {START_SECONDS:.0f} s")

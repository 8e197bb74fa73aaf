"""Waiting until brokers answer."""

from __future__ import annotations

import logging
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

START_SECONDS = 60.0
ASK_SECONDS = 0.5


def new_cluster_id() -> str:
    """An id for a cluster of ours, in Kafka's own form; the first byte keeps it from looking like an option."""
    return urlsafe_b64encode(b"\0" + os.urandom(15)).rstrip(b"=").decode()


def wait_for_brokers(
    address: str,
    count: int = 1,
    cluster_id: str | None = None,
    still_running: Callable[[], None] = lambda: None,
) -> None:
    """Return once `count` brokers are in the metadata of the cluster, which must be the one wanted if it has a name.

    `still_running` is called between tries and raises if waiting longer is pointless. Raises TimeoutError after 60 s.
    """
    # A logger of its own: what librdkafka has to say about refused connections is expected here.
    silent = logging.getLogger("tests.support.kafka.answer")
    silent.setLevel(logging.CRITICAL)
    admin = AdminClient({"bootstrap.servers": address, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}, logger=silent)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        still_running()
        try:
            cluster = admin.list_topics(timeout=ASK_SECONDS)
            if len(cluster.brokers) >= count and cluster_id in (None, cluster.cluster_id):
                return
        except KafkaException:
            continue
    raise TimeoutError(f"Kafka at {address} does not answer with {count} broker(s) within {START_SECONDS:.0f} s")

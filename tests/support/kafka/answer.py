"""Waiting until brokers answer."""

from __future__ import annotations

import logging
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

START_SECONDS = 120.0
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

    `still_running` is called between tries and raises if waiting longer is pointless. Raises TimeoutError after 120 s.
    """

    def all_there(cluster: ClusterMetadata) -> bool:
        return len(cluster.brokers) >= count and cluster_id in (None, cluster.cluster_id)

    _wait(address, all_there, f"does not answer with {count} broker(s)", still_running)


def wait_until_missed(address: str, node: int) -> None:
    """Return once the others know that a broker has gone: they do when its session has run out. Raises TimeoutError after 120 s."""
    _wait(address, lambda cluster: node not in cluster.brokers, f"still counts on broker {node}")


def wait_until_in_sync(address: str, still_running: Callable[[], None] = lambda: None) -> None:
    """Return once every replica of every partition is in sync, so that any one broker may go. Raises TimeoutError after 120 s."""

    def in_sync(cluster: ClusterMetadata) -> bool:
        places = [place for topic in cluster.topics.values() for place in topic.partitions.values()]
        return all(len(place.isrs) == len(place.replicas) for place in places)

    _wait(address, in_sync, "does not get all replicas in sync", still_running)


def _wait(address: str, seen: Callable[[ClusterMetadata], bool], otherwise: str, still_running: Callable[[], None] = lambda: None) -> None:
    # A logger of its own: what librdkafka has to say about refused connections is expected here.
    silent = logging.getLogger("tests.support.kafka.answer")
    silent.setLevel(logging.CRITICAL)
    admin = AdminClient({"bootstrap.servers": address, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}, logger=silent)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        still_running()
        try:
            if seen(admin.list_topics(timeout=ASK_SECONDS)):
                return
        except KafkaException:
            continue
    raise TimeoutError(f"Kafka at {address} {otherwise} within {START_SECONDS:.0f} s")

"""Drills of Kafka: it restarts, one of three brokers dies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.drills.course import Course
from tests.drills.drill import Drill, Form
from tests.drills.redis_faults import spans
from tests.drills.surroundings import Surroundings
from tests.support import RealKafka

BROKERS = 3


@contextmanager
def one_broker(usual: Surroundings) -> Iterator[Surroundings]:
    """The usual, with a broker that the drill may kill."""
    with RealKafka() as kafka:
        yield replace(usual, brokers=kafka.address, servers={**usual.servers, "kafka": kafka})


@contextmanager
def three_brokers(usual: Surroundings) -> Iterator[Surroundings]:
    """The usual, with three brokers: every record on all of them, acknowledged when two have it."""
    with RealKafka(nodes=BROKERS) as kafka:
        yield replace(usual, brokers=kafka.address, replication=BROKERS, servers={**usual.servers, "kafka": kafka})


def _restart(course: Course, form: Form) -> Mapping[str, Any]:
    """Killed, or stopped in good order, by turns."""
    kafka: RealKafka = course.surroundings.servers["kafka"]
    for number, (begin, end) in enumerate(spans(form.faults)):
        course.feed.wait_share(begin)
        if number % 2:
            kafka.stop()
        else:
            kafka.kill_node(1)
        course.feed.wait_share(end)
        kafka.restart()
    return {"faults": form.faults, "restarted": course.revive()}


def _one_dies(course: Course, form: Form) -> Mapping[str, Any]:
    """One after the other; each comes back before the next one goes, but for the last."""
    kafka: RealKafka = course.surroundings.servers["kafka"]
    for number, (begin, end) in enumerate(spans(form.faults)):
        course.feed.wait_share(begin)
        node = number % BROKERS + 1
        kafka.kill_node(node)
        course.feed.wait_share(end)
        if number + 1 < form.faults:
            kafka.start_node(node)
    return {"faults": form.faults, "restarted": course.revive()}


BROKER_FAULTS = (
    Drill(
        name="broker-restart",
        about="the only broker is killed, or stopped, and comes back after a while",
        disturb=_restart,
        short=Form(shoppers=300, seconds=6, faults=1),
        long=Form(shoppers=2_000, seconds=120, faults=6),
        around=one_broker,
    ),
    Drill(
        name="brokers-3",
        about="one of three brokers dies (acks=all, min.insync.replicas=2), then another",
        disturb=_one_dies,
        short=Form(shoppers=300, seconds=6, faults=1),
        long=Form(shoppers=2_000, seconds=120, faults=4),
        around=three_brokers,
    ),
)

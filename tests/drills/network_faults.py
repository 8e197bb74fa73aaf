"""Drill of the network: what goes between services and Redis, or broker, is cut, stalled, reset and lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from cartstream.embedded.child import free_port
from tests.drills.course import Course
from tests.drills.drill import Drill, Form
from tests.drills.redis_faults import spans
from tests.drills.surroundings import Surroundings
from tests.support import RealKafka, StoppableRedis
from tests.support.toxiproxy import Proxy, Toxiproxy

FAULTS: Mapping[str, Callable[[Proxy], None]] = {
    "cut": lambda proxy: proxy.cut(),
    "questions_lost": lambda proxy: proxy.drop("upstream"),
    "answers_lost": lambda proxy: proxy.drop("downstream"),
    "stalled": lambda proxy: proxy.stall("downstream", 3_000),
    "reset": lambda proxy: proxy.reset("downstream"),
    "broken_off": lambda proxy: proxy.cut_after("upstream", 2_000),
}


@contextmanager
def proxied(usual: Surroundings) -> Iterator[Surroundings]:
    """The usual, with a proxy before Redis and one before the broker."""
    port = free_port()
    with ExitStack() as stack:
        network = stack.enter_context(Toxiproxy())
        redis = stack.enter_context(StoppableRedis())
        kafka = stack.enter_context(RealKafka(advertised=[port]))
        proxies = {"redis": network.between("redis", redis.port), "kafka": network.between("kafka", kafka.listening[0], port)}
        yield replace(
            usual,
            brokers=proxies["kafka"].address,
            redis_url=f"redis://{proxies['redis'].address}/0",
            direct=kafka.address,
            servers={**usual.servers, **proxies},
        )


def _disturb(course: Course, form: Form) -> Mapping[str, Any]:
    """Every fault on each way in turn."""
    planned = [(way, fault) for fault in FAULTS for way in ("redis", "kafka")]
    course.random.shuffle(planned)
    done = [planned[number % len(planned)] for number in range(form.faults)]
    restarted = 0
    for (way, fault), (begin, end) in zip(done, spans(form.faults), strict=True):
        proxy: Proxy = course.surroundings.servers[way]
        course.feed.wait_share(begin)
        FAULTS[fault](proxy)
        course.feed.wait_share(end)
        proxy.heal()
        restarted = course.revive()
    return {"faults": form.faults, "kinds": sorted({f"{way}:{fault}" for way, fault in done}), "restarted": restarted}


NETWORK = Drill(
    name="network",
    about="cuts, stalls, resets and losses between services and Redis, and between services and broker",
    disturb=_disturb,
    short=Form(shoppers=300, seconds=8, faults=4),
    long=Form(shoppers=2_000, seconds=240, faults=24),
    around=proxied,
)

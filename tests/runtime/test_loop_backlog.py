"""The end of a backlog: time passes for everybody, a few at a time. And an owner that does not know yet that it is one no more."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cartstream.errors import Fenced
from cartstream.events import avro
from cartstream.events.records import Watermark
from cartstream.runtime.redis_store import RedisStore, connect
from cartstream.runtime.store import Batch
from tests.runtime.live import TTL_S, Place, running, until
from tests.runtime.toy import Act, SecondToyStage
from tests.support import RealKafka

KEYS = 40
BATCH = 8


@pytest.fixture
def place(kafka: RealKafka, redis_url: str, topic_prefix: str) -> Place:
    return Place(kafka, redis_url, topic_prefix)


class Watching(RedisStore):
    """Notes how many each write has woken."""

    fired: list[int]

    def commit_all(self, batches: Mapping[int, Batch]) -> dict[int, Fenced]:
        self.fired += [batch.tally.fired for batch in batches.values()]
        return super().commit_all(batches)


def mark(at: int, source: str = "up:0") -> bytes:
    return avro.codec().encode(Watermark(source, 1, at))


def test_a_backlog_ends_with_a_few_wake_ups_a_write_and_each_of_them_once(place: Place) -> None:
    place.put(*[Act(f"k{n}", wake_at=n) for n in range(KEYS)])
    place.put(mark(10**6, "toy:0"), *[mark(at) for at in range(3, KEYS, 4)], Act("last"))
    with connect(place.redis_url) as client:
        store = Watching(client, place.prefix, "toy", TTL_S)
        store.fired = []
        with running(place, stage=SecondToyStage(), store=store, batch_size=BATCH):
            place.await_committed(KEYS + KEYS // 4 + 2)

    assert place.said() == [*(f"k{n}:1" for n in range(KEYS)), *(f"k{n}@{n}" for n in range(KEYS)), "last:1"]
    assert (sum(store.fired), max(store.fired)) == (KEYS, BATCH)


def test_an_owner_that_reads_what_a_later_one_wrote_steps_back_and_tries_no_write(place: Place) -> None:
    with connect(place.redis_url) as client:
        store = Watching(client, place.prefix, "toy", TTL_S)
        store.fired = []
        with running(place, stage=SecondToyStage(), store=store, cache_entries=0) as loop:
            place.put(Act("a"))
            place.await_committed(1)
            store.open(0, 10**6)
            place.put(Act("a"))
            until(lambda: loop.metric("fenced_total"), "the owner to notice")

        assert place.said() == ["a:1"]
        assert len(store.fired) == 1

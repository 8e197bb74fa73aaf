"""However two owners of a partition interleave, crash and mistake themselves for its owner: every record has its effect once, and
everything is published once; where Kafka's answer to a commit was lost, at least once and with the same ids."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from redis import Redis

from cartstream.events import avro
from cartstream.events.records import Watermark
from cartstream.runtime.redis_store import RedisStore, connect
from cartstream.runtime.store import MemoryStore, StateStore
from tests.properties.effort import examples
from tests.properties.owners import Fate, Kafka, Owner, act, reference

KINDS = st.sampled_from(["x", "y", "z", "z", "to pass on", "time"])
FATES = st.sampled_from([Fate.DONE, Fate.DONE, Fate.DONE, Fate.LOST, Fate.UNCLEAR])


class Storage:
    """A store, and how to keep and bring back an earlier state of it."""

    def __init__(self, store: StateStore, keep: Callable[[], Any], bring_back: Callable[[Any], None]) -> None:
        self.store, self.keep, self.bring_back = store, keep, bring_back


def in_memory() -> Storage:
    store = MemoryStore(timer_page=1)
    return Storage(store, lambda: copy.deepcopy(store.__dict__), lambda kept: store.__dict__.update(copy.deepcopy(kept)))


def in_redis(client: Redis) -> Storage:
    client.flushdb()

    def bring_back(kept: dict[bytes, bytes]) -> None:
        client.flushdb()
        for key, value in kept.items():
            client.restore(key, 0, value)

    return Storage(RedisStore(client, "t.", "toy", 1_000), lambda: {key: client.dump(key) for key in client.scan_iter()}, bring_back)


class Contention(RuleBasedStateMachine):
    """Two owners, `a` and `b`; one or both may believe that the partition is theirs."""

    open_storage: Callable[[], Storage] = staticmethod(in_memory)

    @initialize(kinds=st.lists(KINDS, min_size=6, max_size=20))
    def begin(self, kinds: list[str]) -> None:
        self.storage = self.open_storage()
        self.kafka = Kafka()
        self.owners: dict[str, Owner | None] = {"a": None, "b": None}
        self.time = 0
        self.kept: Any = None
        self.may_repeat = False
        self.records_come(kinds)
        self.joins("a")

    def owner(self, name: str) -> Owner | None:
        found = self.owners[name]
        return found if found is not None and found.owned is not None else None

    @rule(kinds=st.lists(KINDS, min_size=1, max_size=3))
    def records_come(self, kinds: list[str]) -> None:
        for kind in kinds:
            if kind == "to pass on":
                self.kafka.pass_on()
            elif kind == "time":
                self.time += 2
                for source in ("up:0", "toy:0"):
                    self.kafka.append(avro.codec().encode(Watermark(source, 1, self.time)))
            else:
                self.kafka.append(act(kind, self.time + 3 if kind == "z" else None))

    @rule(name=st.sampled_from("ab"))
    def joins(self, name: str) -> None:
        """The other is not told: if it has the partition, it is stale from now on."""
        if self.owners[name] is None:
            self.owners[name] = Owner(self.kafka, self.storage.store)
        self.owners[name].join()  # type: ignore[union-attr]

    @rule(name=st.sampled_from("ab"), count=st.integers(1, 4))
    def steps(self, name: str, count: int) -> None:
        owner = self.owner(name)
        if owner is not None and owner.stepped is None:
            owner.step(count)

    @rule(name=st.sampled_from("ab"), redis=FATES, kafka=FATES)
    def writes_and_publishes(self, name: str, redis: Fate, kafka: Fate) -> None:
        owner = self.owner(name)
        if owner is None:
            return
        published, (sequence, generation) = len(self.kafka.published), self.storage.store.sequence(0)
        stale = owner.generation < generation
        owner.round(redis, kafka)
        self.may_repeat |= kafka is Fate.UNCLEAR and len(self.kafka.published) > published
        assert not stale or self.storage.store.sequence(0) == (sequence, generation)

    @rule(name=st.sampled_from("ab"), count=st.integers(1, 4), redis=FATES, kafka=FATES)
    def works(self, name: str, count: int, redis: Fate, kafka: Fate) -> None:
        self.steps(name, count)
        self.writes_and_publishes(name, redis, kafka)

    @rule(name=st.sampled_from("ab"))
    def crashes(self, name: str) -> None:
        owner, self.owners[name] = self.owners[name], None
        if owner is not None:
            owner.close()

    @rule()
    def redis_is_saved(self) -> None:
        self.kept = self.storage.keep() if self.kafka.committed >= 0 else None

    @precondition(lambda self: self.kept is not None)
    @rule()
    def redis_loses_its_tail(self) -> None:
        """A stale owner that outlives this may write once more, with its old generation: what it tells is told again."""
        self.storage.bring_back(self.kept)
        self.may_repeat |= all(self.owner(name) is not None for name in "ab")

    @invariant()
    def what_was_published_is_what_one_owner_would_have_published(self) -> None:
        if not hasattr(self, "kafka"):
            return
        published = [(wire.key, wire.value) for wire in self.kafka.published]
        expected, _ = reference(self.kafka.log)
        if self.may_repeat:
            assert set(published) <= set(expected)
        else:
            assert published == expected[: len(published)]

    def teardown(self) -> None:
        if not hasattr(self, "kafka"):
            return
        for name in "ab":
            self.crashes(name)
        last = Owner(self.kafka, self.storage.store)
        try:
            finish(last)
        finally:
            last.close()
        self._check_the_end()

    def _check_the_end(self) -> None:
        expected, states = reference(self.kafka.log)
        published = [(wire.key, wire.value) for wire in self.kafka.published]
        assert set(published) == set(expected)
        assert self.may_repeat or published == expected
        assert dict(zip(states, self.storage.store.load(0, list(states)), strict=True)) == states
        assert self.storage.store.load(0, ["nobody"]) == [None]


def test_a_stale_owner_does_not_step_what_the_next_one_wrote_even_if_redis_then_loses_that() -> None:
    tale = Contention()
    tale.begin(kinds=["x"] * 6)
    tale.works("a", 1, Fate.DONE, Fate.DONE)
    tale.redis_is_saved()
    tale.joins("a")
    tale.joins("b")
    tale.works("b", 1, Fate.DONE, Fate.DONE)
    tale.steps("a", 1)
    tale.redis_loses_its_tail()
    tale.writes_and_publishes("a", Fate.DONE, Fate.DONE)
    tale.teardown()


def test_any_interleaving_of_two_owners_applies_each_record_once() -> None:
    run_state_machine_as_test(Contention, settings=examples(150, steps=40))


def test_any_interleaving_of_two_owners_on_a_real_redis_applies_each_record_once(redis: Redis, redis_url: str) -> None:
    with connect(redis_url) as client:

        class OnRedis(Contention):
            open_storage = staticmethod(lambda: in_redis(client))

        run_state_machine_as_test(OnRedis, settings=examples(30, steps=40))


def finish(owner: Owner) -> None:
    owner.join()
    while owner.behind:
        if owner.stepped is None:
            owner.step(1)
        owner.round()
    owner.close()


@pytest.mark.parametrize("kafka", [Fate.LOST, Fate.UNCLEAR])
@pytest.mark.parametrize("redis", list(Fate))
def test_a_crash_after_a_write_is_made_up_for_by_the_next_owner(redis: Fate, kafka: Fate) -> None:
    """The plain story, so that it is certain to be told."""
    storage, broker = in_memory(), Kafka()
    broker.append(act("x"))
    first, second = Owner(broker, storage.store), Owner(broker, storage.store)
    first.join()
    first.step(1)
    first.round(redis, kafka)
    first.close()

    broker.append(act("x"))
    finish(second)

    assert [wire.value for wire in broker.published] == [b"x:1", b"x:2"]


def test_what_a_redis_that_lost_its_tail_knows_nothing_of_is_done_again_in_silence() -> None:
    storage, broker = in_memory(), Kafka()
    broker.append(act("x"))
    finish(Owner(broker, storage.store))
    kept = storage.keep()
    broker.append(act("x"))
    finish(Owner(broker, storage.store))

    storage.bring_back(kept)
    broker.append(act("x"))
    finish(Owner(broker, storage.store))

    assert [wire.value for wire in broker.published] == [b"x:1", b"x:2", b"x:3"]

"""One contract for the state store, kept by the one in memory and the one in Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from zlib import crc32

import pytest
from redis import Redis

from cartstream.errors import Fenced, Unavailable
from cartstream.runtime.redis_store import RedisStore, connect
from cartstream.runtime.state_hashes import BUCKETS
from cartstream.runtime.store import Batch, Checkpoint, MemoryStore, StateStore, Wire
from cartstream.runtime.wake_lists import PAGE
from cartstream.runtime.watermarks import UNKNOWN

TTL_S = 1_000


@pytest.fixture(params=["memory", "redis_url", "cluster_url"])
def store(request: pytest.FixtureRequest, topic_prefix: str) -> Iterator[StateStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with connect(request.getfixturevalue(request.param)) as client:
        yield RedisStore(client, topic_prefix, "toy", TTL_S)


def batch(
    sequence: int,
    states: dict[str, bytes | None] | None = None,
    *,
    generation: int = 1,
    wakes: dict[str, int] | None = None,
    woken: int = UNKNOWN,
    outbox: list[Wire] | None = None,
    next_offset: int = 0,
) -> Batch:
    checkpoint = Checkpoint(sequence, generation, next_offset, {"up:0": 5, "": 7}, {"up": 1})
    return Batch(checkpoint, states or {}, list((wakes or {}).items()), outbox or [], woken=woken)


def test_a_partition_never_written_to_is_empty(store: StateStore) -> None:
    opened = store.open(0, 1)

    assert (opened.checkpoint, opened.outbox, opened.wakes) == (None, [], {})
    assert store.sequence(0) == (0, -1)
    assert store.load(0, ["a"]) == [None]


def test_what_one_write_holds_the_next_owner_finds(store: StateStore) -> None:
    wires = [Wire("activity", "ann", b"\x00one", 3, {"cs-reason": "too_large"}), Wire("activity", None, b"")]
    store.commit(0, batch(1, {"a": b"1", "b": b"2"}, wakes={"a": 10, "b": 20}, outbox=wires, next_offset=42))

    opened = store.open(0, 2)

    assert opened.checkpoint is not None
    assert opened.checkpoint == Checkpoint(1, 2, 42, {"up:0": 5, "": 7}, {"up": 1}, opened.checkpoint.era)
    assert opened.outbox == wires
    assert opened.wakes == {"a": 10, "b": 20}
    assert store.load(0, ["b", "nobody", "a"]) == [b"2", None, b"1"]


def test_what_an_owner_learns_and_does_not_write_the_next_one_does_not_find(store: StateStore) -> None:
    store.commit(0, batch(1))
    owner = store.open(0, 1).checkpoint
    assert owner is not None

    owner.sources["up:0"], owner.expected["up"] = 9, 2

    found = store.open(0, 2).checkpoint
    assert found is not None
    assert (found.sources, found.expected) == ({"up:0": 5, "": 7}, {"up": 1})


def test_the_stored_generation_is_the_last_owners(store: StateStore) -> None:
    store.commit(0, batch(1, generation=1))
    store.commit(2, batch(1, generation=4))
    store.open(0, 3)

    assert store.sequences([0, 1, 2]) == {0: (1, 3), 1: (0, -1), 2: (1, 4)}


def test_a_later_write_replaces_and_deletes(store: StateStore) -> None:
    store.commit(0, batch(1, {"a": b"1", "b": b"2"}, wakes={"a": 10, "b": 20}, outbox=[Wire("t", "k", b"old")]))
    store.commit(0, batch(2, {"a": None, "b": b"3"}))

    opened = store.open(0, 1)

    assert opened.outbox == []
    assert store.load(0, ["a", "b"]) == [None, b"3"]


def test_partitions_know_nothing_of_each_other(store: StateStore) -> None:
    store.commit(0, batch(1, {"a": b"0"}, wakes={"a": 10}))
    store.commit(1, batch(1, {"a": b"1"}))

    assert (store.load(0, ["a"]), store.load(1, ["a"])) == ([b"0"], [b"1"])
    assert store.open(1, 1).wakes == {}


@pytest.mark.parametrize("sequence", [1, 3, 4])
def test_a_write_out_of_sequence_is_refused_and_changes_nothing(store: StateStore, sequence: int) -> None:
    store.commit(0, batch(1, {"a": b"1"}))

    with pytest.raises(Fenced, match="partition 0"):
        store.commit(0, batch(sequence, {"a": b"stale"}, wakes={"a": 1}, outbox=[Wire("t", "k", b"stale")]))

    assert store.load(0, ["a"]) == [b"1"]
    assert store.sequence(0) == (1, 1)
    assert (store.open(0, 1).outbox, store.open(0, 1).wakes) == ([], {})


def test_the_first_write_must_be_number_one(store: StateStore) -> None:
    with pytest.raises(Fenced):
        store.commit(0, batch(2, {"a": b"1"}))
    assert store.load(0, ["a"]) == [None]


def test_a_zombie_cannot_write_once_a_later_generation_has_opened(store: StateStore) -> None:
    store.commit(0, batch(1, {"a": b"1"}, generation=1))
    store.open(0, 2)

    with pytest.raises(Fenced, match="generation 2"):
        store.commit(0, batch(2, {"a": b"zombie"}, generation=1))

    store.commit(0, batch(2, {"a": b"2"}, generation=2))
    assert store.load(0, ["a"]) == [b"2"]


def test_an_earlier_generation_cannot_open(store: StateStore) -> None:
    store.commit(0, batch(1, generation=5))
    with pytest.raises(Fenced, match="generation 5"):
        store.open(0, 4)


def test_two_owners_that_both_begin_on_an_empty_partition_write_once(store: StateStore) -> None:
    store.open(0, 1)
    store.open(0, 2)
    store.commit(0, batch(1, {"a": b"second"}, generation=2))

    with pytest.raises(Fenced):
        store.commit(0, batch(1, {"a": b"first"}, generation=1))
    assert store.load(0, ["a"]) == [b"second"]


def test_what_was_opened_stays_as_it_was_when_others_write(store: StateStore) -> None:
    store.commit(0, batch(1, wakes={"a": 10}))
    opened = store.open(0, 1)
    store.commit(0, batch(2, wakes={"a": 99}))

    assert opened.checkpoint is not None
    assert opened.checkpoint.sequence == 1
    assert opened.wakes == {"a": 10}


def test_a_write_without_an_answer_is_settled_by_the_sequence_and_happens_once(redis: Redis, redis_url: str) -> None:
    """The answer times out while the server still holds the write: it may happen later, even after the sequence was asked for."""
    with connect(redis_url) as client, connect(redis_url, timeout_s=0.3) as impatient:
        sure, unsure = RedisStore(client, "t.", "toy", TTL_S), RedisStore(impatient, "t.", "toy", TTL_S)
        unsure.commit(0, batch(1, {"a": b"1"}))
        client.execute_command("CLIENT", "PAUSE", 900, "WRITE")
        with pytest.raises(Unavailable, match=r"Redis \(toy\)"):
            unsure.commit(0, batch(2, {"a": b"2"}, outbox=[Wire("t", "k", b"two")]))
        client.execute_command("CLIENT", "UNPAUSE")

        if sure.sequence(0) == (1, 1):
            with suppress(Fenced, Unavailable):  # the held write came first
                unsure.commit(0, batch(2, {"a": b"2"}, outbox=[Wire("t", "k", b"two")]))

        assert sure.sequence(0) == (2, 1)
        assert sure.load(0, ["a"]) == [b"2"]
        assert sure.open(0, 1).outbox == [Wire("t", "k", b"two")]
        with pytest.raises(Fenced):
            unsure.commit(0, batch(2, {"a": b"again"}))


def test_every_key_expires_and_each_write_puts_it_off(redis: Redis) -> None:
    store = RedisStore(redis, "t.", "toy", TTL_S)
    full = batch(1, {"a": b"1"}, wakes={"a": 10}, outbox=[Wire("t", "k", b"v")])
    store.commit(0, full)
    left = _left(redis)
    (states,) = [name for name in left if name.startswith("h:")]
    by_era = {states, "wakes", "w:0:0"}
    assert all(TTL_S <= left.pop(name) <= 2 * TTL_S for name in by_era)
    assert left == dict.fromkeys(("meta", "outbox"), TTL_S)

    store.open(0, 1)
    assert _left(redis)["meta"] == TTL_S

    for name in redis.scan_iter():
        redis.expire(name, 5)
    store.commit(0, batch(2, {"a": b"2"}))
    assert {name for name, seconds in _left(redis).items() if seconds >= TTL_S} == {"meta", "outbox"} | by_era


def test_a_state_is_kept_for_its_time_and_gone_after_twice_that(redis: Redis) -> None:
    present = time.time()
    store = RedisStore(redis, "t.", "toy", TTL_S, lambda: present)
    store.open(0, 1)
    store.commit(0, batch(1, {"silent": b"1", "busy": b"1", "leaving": b"1"}))

    present += TTL_S
    store.commit(0, batch(2, {"busy": b"2", "leaving": None, "new": b"2"}))
    store = RedisStore(redis, "t.", "toy", TTL_S, lambda: present)
    store.open(0, 2)
    assert store.load(0, ["silent", "busy", "leaving", "new"]) == [b"1", b"2", None, b"2"]
    assert _states(redis) == {b"silent": b"1", b"busy": b"2", b"new": b"2"}, "nothing is kept twice"

    present += TTL_S
    store.commit(0, batch(3, {"busy": b"3"}, generation=2))
    assert store.load(0, ["silent", "busy", "new"]) == [None, b"3", b"2"]


CUSTOMER, DEVICE = "c_0123456789abcdef01234567", "0a1b2c3d-0000-4000-8000-00000000abcd"
VALUES = {
    CUSTOMER: b"\x99\x02\xba" + CUSTOMER.encode() + b"the rest",
    DEVICE: b"\x96\xd9$" + DEVICE.encode(),
    "c_fedcba987654321001234567": b"\x99 of somebody else: " + CUSTOMER.encode(),
    "\xe4": "\xe4".encode(),
    "a": b"",
    "b": b"\xc1\x00 no msgpack",
    "c": b"c",
    "d": b"far from the beginning: d",
}


def test_a_state_comes_back_as_it_was_whatever_its_key_and_wherever_it_has_it(store: StateStore) -> None:
    store.commit(0, batch(1, dict(VALUES)))
    assert dict(zip(VALUES, store.load(0, [*VALUES]), strict=True)) == VALUES


def test_a_state_does_not_repeat_its_key(redis: Redis) -> None:
    RedisStore(redis, "t.", "toy", TTL_S).commit(0, batch(1, {CUSTOMER: VALUES[CUSTOMER]}))
    ((field, value),) = _states(redis).items()
    assert (len(field), len(value)) == (13, len(VALUES[CUSTOMER]) - 24)


def test_states_that_the_release_before_wrote_are_found_and_moved_with_their_next_write(redis: Redis) -> None:
    present = time.time()
    era = int(present) // TTL_S
    for when, key in ((era, CUSTOMER), (era - 1, DEVICE), (era - 1, "gone")):
        redis.hset(f"t.{{toy:0}}:s:{when}:{crc32(key.encode()) % BUCKETS}", key, VALUES.get(key, b"1"))
    store = RedisStore(redis, "t.", "toy", TTL_S, lambda: present)
    assert store.load(0, [CUSTOMER, DEVICE, "gone"]) == [VALUES[CUSTOMER], VALUES[DEVICE], b"1"], "also before it is opened"

    store.open(0, 1)
    assert store.load(0, [CUSTOMER, DEVICE, "gone"]) == [VALUES[CUSTOMER], VALUES[DEVICE], b"1"]
    store.commit(0, batch(1, {CUSTOMER: b"2", "gone": None}))

    assert store.load(0, [CUSTOMER, DEVICE, "gone"]) == [b"2", VALUES[DEVICE], None]
    assert not redis.exists(f"t.{{toy:0}}:s:{era}:{crc32(CUSTOMER.encode()) % BUCKETS}")
    present += TTL_S
    store.commit(0, batch(2))
    assert store.load(0, [CUSTOMER, DEVICE]) == [b"2", None]


def test_an_owner_whose_clock_is_behind_finds_and_replaces_what_the_one_before_wrote(redis: Redis) -> None:
    present = time.time()
    store = RedisStore(redis, "t.", "toy", TTL_S, lambda: present)
    store.open(0, 1)
    store.commit(0, batch(1, {"a": b"1"}))

    behind = RedisStore(redis, "t.", "toy", TTL_S, lambda: present - TTL_S)
    behind.open(0, 2)
    assert behind.load(0, ["a"]) == [b"1"]
    behind.commit(0, batch(2, {"a": b"2"}, generation=2))

    ahead = RedisStore(redis, "t.", "toy", TTL_S, lambda: present)
    ahead.open(0, 3)
    assert ahead.load(0, ["a"]) == [b"2"]


def test_several_partitions_are_written_at_once_and_each_is_judged_by_itself(store: StateStore) -> None:
    store.commit(1, batch(1, {"a": b"theirs"}, generation=2))

    refused = store.commit_all({number: batch(1, {"a": b"ours"}) for number in range(3)})

    assert list(refused) == [1]
    assert [store.load(number, ["a"]) for number in range(3)] == [[b"ours"], [b"theirs"], [b"ours"]]


def test_an_outbox_does_not_keep_what_the_source_has(redis: Redis) -> None:
    store = RedisStore(redis, "t.", "toy", TTL_S)
    store.commit(0, batch(1, outbox=[Wire("t", "k", b"passed on", origin=17), Wire("t", "k", b"made")]))

    assert store.open(0, 1).outbox == [Wire("t", "k", b"", origin=17), Wire("t", "k", b"made")]


def _states(redis: Redis) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name in redis.scan_iter(match="*:h:*"):
        inside: Any = redis.hgetall(name)
        assert not found.keys() & inside.keys()
        found |= inside
    return found


def _left(redis: Redis) -> dict[str, int]:
    names = [bytes(name).decode() for name in redis.scan_iter()]
    return {name.removeprefix("t.{toy:0}:"): int(str(redis.ttl(name))) for name in names}


def test_all_of_a_partition_lies_in_one_slot(redis: Redis) -> None:
    store = RedisStore(redis, "t.", "toy", TTL_S)
    full = batch(1, {"a{b}": b"1"}, wakes={"x": 10}, outbox=[Wire("t", "k", b"v")])
    store.commit(7, full)

    assert all(bytes(name).startswith(b"t.{toy:7}:") for name in redis.scan_iter())
    assert len(list(redis.scan_iter())) == 5


AT = 1_700_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def test_who_has_been_woken_is_forgotten_and_nobody_else(store: StateStore) -> None:
    later = {"b": AT + 5 * MINUTE, "c": AT + HOUR, "d": AT + 30 * DAY}
    store.commit(0, batch(1, wakes={"a": AT, **later}))
    store.commit(0, batch(2, wakes={"e": AT + HOUR}, woken=AT + 4 * MINUTE))

    assert store.open(0, 1).wakes == later | {"e": AT + HOUR}
    store.commit(0, batch(3, woken=AT + 29 * DAY))
    store.commit(0, batch(4, woken=AT + 29 * DAY))
    assert store.open(0, 1).wakes == {"d": AT + 30 * DAY}
    store.commit(0, batch(5, woken=AT + 40 * DAY))
    assert store.open(0, 1).wakes == {}


def test_of_several_times_of_one_key_the_earliest_is_told(store: StateStore) -> None:
    store.commit(0, batch(1, wakes={"a": AT + DAY}))
    store.commit(0, batch(2, wakes={"a": AT}))
    assert store.open(0, 1).wakes == {"a": AT}

    store.commit(0, batch(3, woken=AT + HOUR))
    assert store.open(0, 1).wakes == {"a": AT + DAY}


def test_what_is_wanted_too_late_is_kept_until_time_goes_on(store: StateStore) -> None:
    store.commit(0, batch(1, wakes={"a": AT}, woken=AT + HOUR))
    store.commit(0, batch(2, woken=AT + HOUR))
    assert store.open(0, 1).wakes == {"a": AT}

    store.commit(0, batch(3, woken=AT + 2 * HOUR))
    assert store.open(0, 1).wakes == {}


def test_a_write_that_is_tried_again_forgets_what_the_first_try_would_have(redis: Redis, redis_url: str) -> None:
    with connect(redis_url) as client:
        store = RedisStore(client, "t.", "toy", TTL_S)
        store.commit(0, batch(1, wakes={"a": AT, "b": AT + DAY}))
        client.config_set("maxmemory", 1)
        with pytest.raises(Unavailable):
            store.commit(0, batch(2, wakes={"c": AT + DAY}, woken=AT + HOUR))
        client.config_set("maxmemory", 0)
        store.commit(0, batch(2, wakes={"c": AT + DAY}, woken=AT + HOUR))

        assert store.open(0, 1).wakes == {"b": AT + DAY, "c": AT + DAY}
        lists = list(redis.scan_iter(match="*:w:*"))
        assert len(lists) == redis.zcard("t.{toy:0}:wakes"), "no list is left behind"


def test_wake_ups_of_a_month_are_in_some_hundred_lists(redis: Redis) -> None:
    store = RedisStore(redis, "t.", "toy", TTL_S)
    wakes = {f"c_{n:024x}": AT + n * MINUTE for n in range(30 * 24 * 60)}
    store.commit(0, batch(1, wakes=wakes, woken=AT))

    assert _all_wakes(store) == wakes
    lists = [bytes(name) for name in redis.scan_iter(match="*:w:*")]
    assert len(lists) < 300
    assert sum(int(str(redis.memory_usage(name))) for name in lists) < 25 * len(wakes)
    assert all(redis.ttl(name) > 0 for name in lists)


@pytest.mark.parametrize("reopened", [False, True])
def test_wake_ups_farther_ahead_than_their_expiry_stay_while_the_partition_is_written(redis: Redis, reopened: bool) -> None:
    present = time.time()

    def now() -> float:
        return present

    store = RedisStore(redis, "t.", "toy", TTL_S, now)
    store.commit(0, batch(1, wakes={"a": AT + 30 * DAY}, woken=AT))
    for sequence in range(2, 6):
        present += TTL_S
        if reopened:
            store = RedisStore(redis, "t.", "toy", TTL_S, now)
            store.open(0, 1)
        store.commit(0, batch(sequence, woken=AT))

    (name,) = redis.scan_iter(match="*:w:*")
    assert int(str(redis.ttl(name))) >= 5 * TTL_S - 5
    assert store.open(0, 1).wakes == {"a": AT + 30 * DAY}


def test_wake_ups_that_the_release_before_kept_in_a_sorted_set_are_moved(redis: Redis) -> None:
    store = RedisStore(redis, "t.", "toy", TTL_S)
    store.commit(0, batch(1))
    wakes = {f"c_{n:024x}": AT + n * 100 for n in range(PAGE + 5)}
    redis.zadd("t.{toy:0}:timers", wakes)

    assert _all_wakes(RedisStore(redis, "t.", "toy", TTL_S)) == wakes
    assert not redis.exists("t.{toy:0}:timers")
    assert all(redis.ttl(name) > 0 for name in redis.scan_iter())
    store.open(0, 1)
    store.commit(0, batch(2, woken=AT + DAY))
    assert _all_wakes(store) == {}


@pytest.mark.parametrize("apart", [0, 100])
def test_wake_ups_come_in_pages_by_time_and_none_is_left_out(redis: Redis, apart: int) -> None:
    store = RedisStore(redis, "t.", "toy", TTL_S)
    wakes = {f"k{n}": AT + n * apart for n in range(2 * PAGE)}
    store.commit(0, batch(1, wakes=wakes, woken=AT - 1))

    opened = store.open(0, 1)

    assert (opened.known is not None) == (apart > 0), "those of one time come together"
    if opened.known is not None:
        assert PAGE <= len(opened.wakes) < len(wakes)
        assert all(key in opened.wakes for key, at in wakes.items() if at <= opened.known)
    assert _all_wakes(store) == wakes


def _all_wakes(store: RedisStore) -> dict[str, int]:
    opened = store.open(0, 1)
    found, known = dict(opened.wakes), opened.known
    while known is not None:
        more, known = store.wakes(0, known)
        assert not found.keys() & more.keys()
        found |= more
    return found


def test_a_redis_that_is_not_there_is_unavailable(redis: Redis) -> None:
    with connect("redis://127.0.0.1:1/0", timeout_s=0.5) as client:
        store = RedisStore(client, "t.", "toy", TTL_S)
        for act in (lambda: store.open(0, 1), lambda: store.load(0, ["a"]), lambda: store.commit(0, batch(1)), lambda: store.sequence(0)):
            with pytest.raises(Unavailable, match=r"Redis \(toy\)"):
                act()


def test_what_redis_refuses_is_told_without_the_state_that_it_refused(redis: Redis) -> None:
    store = RedisStore(redis, "t.", "toy", TTL_S)
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable, match=r"^Redis \(toy\): OutOfMemoryError: command not allowed") as refused:
            store.commit(0, batch(1, {"secret-customer": b"secret state"}))
    finally:
        redis.config_set("maxmemory", 0)

    assert "secret" not in str(refused.value)
    assert store.sequence(0) == (0, -1)
    store.commit(0, batch(1, {"a": b"1"}))

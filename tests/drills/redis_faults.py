"""Drills of Redis: it restarts, goes back in time, fails over, runs full."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from tests.drills.course import Course
from tests.drills.drill import Drill, Form
from tests.drills.surroundings import Surroundings
from tests.drills.traffic import PARTITIONS
from tests.support import RealRedisCluster, StoppableRedis

STAGES = ("identity", "sessions", "detection", "journeys")
_WAIT_S = 60.0
_LOOK_S = 0.05
_BEGUN = 0.08
"""The share of the traffic by which every stage has something of every partition to write."""


@contextmanager
def stoppable(usual: Surroundings) -> Iterator[Surroundings]:
    """The usual, with a Redis that the drill may kill."""
    with StoppableRedis() as redis:
        yield replace(usual, redis_url=redis.url, servers={**usual.servers, "redis": redis})


@contextmanager
def clustered(usual: Surroundings) -> Iterator[Surroundings]:
    """The usual, with a Redis Cluster of three primaries and their replicas."""
    with RealRedisCluster() as cluster:
        yield replace(usual, redis_url=cluster.url, servers={**usual.servers, "cluster": cluster})


def _restart(course: Course, form: Form) -> Mapping[str, Any]:
    """Killed, or stopped in good order, by turns; away for a while each time."""
    redis: StoppableRedis = course.surroundings.servers["redis"]
    course.feed.wait_share(_BEGUN)
    _hold_until_begun(course, redis)
    course.feed.release()
    for number, (begin, end) in enumerate(spans(form.faults)):
        course.feed.wait_share(begin)
        if number % 2:
            redis.stop()
        else:
            redis.kill()
        course.feed.wait_share(end)
        redis.start()
    return {"faults": form.faults}


def _lose_tail(course: Course, form: Form) -> Mapping[str, Any]:
    """What Redis acknowledged in a part of the traffic is gone again: its files are set back to an older copy. Two processes of identity,
    which share the directory, notice it each for itself."""
    redis: StoppableRedis = course.surroundings.servers["redis"]
    course.fleet.start("identity-2")
    course.fleet.wait_ready(["identity-2"])
    for number, (begin, end) in enumerate(spans(form.faults), 1):
        course.feed.wait_share(begin)
        _hold_until_begun(course, redis)
        kept, before = redis.keep(), _stored(course, redis)
        course.feed.release()
        course.feed.wait_share(end)
        until(lambda before=before: _stored(course, redis) != before, "something to lose")  # type: ignore[misc]
        redis.kill()
        redis.put_back(kept)
        redis.start()
        until(lambda number=number: behind(course) >= number, "the lost tail to be noticed")  # type: ignore[misc]
    return {"faults": form.faults, "redis_behind": behind(course)}


def _hold_until_begun(course: Course, redis: StoppableRedis) -> None:
    """The feed, until a write of every partition is in the append-only file. A partition of which Redis knows nothing any more stops.

    While the disk is slow Redis acknowledges what it has not written yet: killed then, it loses what it acknowledged.
    """
    course.feed.hold(course.feed.now)
    until(lambda: len(_stored(course, redis)) == len(STAGES) * PARTITIONS, "a first write of every partition")
    with redis.client() as client:
        until(lambda: client.info("persistence")["aof_buffer_length"] == 0, "the first writes to be in the file")


def _stored(course: Course, redis: StoppableRedis) -> dict[str, bytes]:
    """The checkpoints by partition."""
    keys = [f"{course.prefix}{{{stage}:{number}}}:meta" for stage in STAGES for number in range(PARTITIONS)]
    with redis.client() as client:
        found: list[bytes | None] = client.mget(keys)
    return {key: value for key, value in zip(keys, found, strict=True) if value}


def _fail_over(course: Course, form: Form) -> Mapping[str, Any]:
    """One primary after the other: killed; hanging; killed before its replica has heard of its last writes."""
    cluster: RealRedisCluster = course.surroundings.servers["cluster"]
    kinds = ("killed", "lost_tail", "hung")[: form.faults]
    for kind, key, (begin, end) in zip(kinds, _slots_of(course, cluster), spans(form.faults), strict=False):
        course.feed.wait_share(begin)
        primary = cluster.primary_of(key)
        if kind == "lost_tail":
            cluster.lose_tail(primary, lambda end=end: course.feed.wait_share(end))  # type: ignore[misc]
        elif kind == "hung":
            cluster.pause(primary)
            course.feed.wait_share(end)
            cluster.resume(primary)
        else:
            cluster.kill(primary)
    return {"faults": form.faults, "kinds": list(kinds), "redis_behind": behind(course)}


def _slots_of(course: Course, cluster: RealRedisCluster) -> list[str]:
    """A key on each of the three primaries, beginning with one that sessions writes all the time."""
    keys = [
        f"{course.prefix}{{{stage}:{number}}}:meta" for stage in ("sessions", "identity", "detection", "journeys") for number in range(4)
    ]
    found: dict[int, str] = {}
    for key in keys:
        found.setdefault(cluster.primary_of(key), key)
    return list(found.values())


def _fill(course: Course, form: Form) -> Mapping[str, Any]:
    """No more memory; then a snapshot that cannot be written: Redis refuses every write, and takes them again later."""
    redis: StoppableRedis = course.surroundings.servers["redis"]
    refused = []
    with redis.client() as client:
        for (begin, end), full in zip(spans(form.faults), (_no_memory, _no_snapshot) * form.faults, strict=False):
            course.feed.wait_share(begin)
            with full(client, redis):
                refused.append(_refusal(course))
                course.feed.wait_share(end)
    return {"faults": form.faults, "refused_with": sorted(set(refused))}


def _refusal(course: Course) -> str:
    """How sessions says that it waits: alive, not ready, with Redis's own word. Its committed work stands still meanwhile."""

    def why() -> str:
        said = not_ready(course.fleet.url("sessions"))
        return next((word for word in ("OutOfMemoryError", "MISCONF") if word in said), "")

    word: str = until(why, "sessions to say that Redis refuses")
    assert course.fleet.alive("sessions")
    return word


@contextmanager
def _no_memory(client: Redis, redis: StoppableRedis) -> Iterator[None]:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)


@contextmanager
def _no_snapshot(client: Redis, redis: StoppableRedis) -> Iterator[None]:
    """Where the snapshot should be written there is a directory, and Redis is told to stop at that."""
    (redis.directory / "dump.rdb").unlink(missing_ok=True)
    (redis.directory / "dump.rdb").mkdir()
    client.config_set("save", "3600 100000000")
    client.config_set("stop-writes-on-bgsave-error", "yes")
    _save(client)
    try:
        yield
    finally:
        (redis.directory / "dump.rdb").rmdir()
        _save(client)


def _save(client: Redis) -> None:
    """Returns when the snapshot has been written, or could not be."""
    until(lambda: _begins(client), "a snapshot to begin")
    until(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0, "the snapshot to end")


def _begins(client: Redis) -> bool:
    try:
        return bool(client.bgsave())
    except ResponseError:  # another child process of Redis is at work
        return False


def not_ready(url: str) -> str:
    """Why a process says that it is not ready; nothing if it is."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2.0):
            return ""
    except urllib.error.HTTPError as refused:
        return refused.read().decode()


def behind(course: Course) -> int:
    """How often a stage has found that Redis had lost its tail."""
    stages = [name for name in course.fleet.names if name.partition("-")[0] in STAGES]
    return int(sum(course.fleet.metric(name, "cartstream_recoveries_total", found="redis_behind") for name in stages))


def spans(faults: int) -> list[tuple[float, float]]:
    """From and to which share of the traffic each fault holds: a third of its turn, the rest to recover."""
    turn = 0.8 / faults
    return [(0.1 + number * turn, 0.1 + (number + 0.34) * turn) for number in range(faults)]


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value. Raises AssertionError."""
    end = time.monotonic() + _WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come within {_WAIT_S:.0f} s"
        time.sleep(_LOOK_S)
    return found


REDIS_FAULTS = (
    Drill(
        name="redis-restart",
        about="Redis is killed, or stopped, and comes back after a while with its append-only file",
        disturb=_restart,
        short=Form(shoppers=300, seconds=6, faults=2),
        long=Form(shoppers=2_000, seconds=120, faults=12),
        around=stoppable,
    ),
    Drill(
        name="redis-lost-tail",
        about="Redis is set back to an older copy of its files",
        disturb=_lose_tail,
        short=Form(shoppers=300, seconds=6, faults=1),
        long=Form(shoppers=2_000, seconds=120, faults=5),
        around=stoppable,
        broken=lambda line: line["redis_behind"] < line["faults"],
    ),
    Drill(
        name="redis-cluster",
        about="of a Redis Cluster's three primaries one is killed, one loses its tail, one hangs; their replicas take over",
        disturb=_fail_over,
        short=Form(shoppers=300, seconds=6, faults=1),
        long=Form(shoppers=2_000, seconds=120, faults=3),
        around=clustered,
    ),
    Drill(
        name="disk-full",
        about="Redis has no memory left (OOM), or cannot save (MISCONF): every write is refused until there is room",
        disturb=_fill,
        short=Form(shoppers=300, seconds=6, faults=2),
        long=Form(shoppers=2_000, seconds=120, faults=8),
        around=stoppable,
    ),
)

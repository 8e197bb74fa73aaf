"""Wake-ups of partitions in Redis: lists by stretch of time, appended to by the batch, and dropped whole once their time is over.

| key | value |
|---|---|
| `…:w:<level>:<number>` | list: for each batch a msgpack list of key, time, key, time, … |
| `…:wakes` | sorted set: the stretches that there are, `<level>:<number>` by their beginning |

A sorted set of wake-ups takes 120 bytes an entry, and a search for each change. A list takes 20, and one command for all of a
batch that fall into a stretch. The price: nothing is taken out by itself. What was moved or given up stays until its stretch is
over, and a new owner may wake somebody for nothing.

A stretch is the longer, the farther it lies ahead: a minute for the next half hour, a day and a half for a month. So a partition has a few
hundred at most, however many customers it has, and what a new owner needs first is in a few of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from cartstream.events.times import EventTime
from cartstream.runtime.packed_keys import packed, unpacked
from cartstream.runtime.watermarks import UNKNOWN

PAGE = 10_000
_SHORTEST = 16
"""A stretch of level 0 has 2^16 ms. With each level it doubles."""
_PART = 5
"""From level 1 on, a stretch is between a 2^4th and a 2^5th of the time until then."""

Wake = tuple[str, EventTime]
Known = tuple[dict[str, EventTime], EventTime | None]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes | EventTime]).decode


class WakeLists:
    """Of several partitions, told apart by `tag`."""

    def __init__(self) -> None:
        self._stretches: dict[str, dict[str, EventTime]] = {}
        self._dropped: dict[str, tuple[int, list[str]]] = {}
        self._renewed: dict[str, tuple[int, int]] = {}

    def open(self, client: Any, tag: str, expire_at: int) -> None:
        """Finds out which stretches there are. Raises RedisError."""
        _move_sorted_set(client, tag, expire_at)
        names = [name.decode() for name in client.zrange(f"{tag}wakes", 0, -1)]
        self._stretches[tag] = {name: _end(name) for name in names}
        self._dropped.pop(tag, None)
        self._renewed.pop(tag, None)

    def read(self, client: Any, tag: str, after: EventTime | None) -> Known:
        """What begins after this time: the earliest stretches, with all up to the time that comes second; None: there are no more. Some
        of it may be over, moved or given up. Raises RedisError."""
        least = "-inf" if after is None else f"({after}"
        stretches = [
            (name.decode(), begin)
            for name, begin in client.zrange(f"{tag}wakes", least, "+inf", byscore=True, withscores=True, score_cast_func=int)
        ]
        due: dict[str, EventTime] = {}
        read, ahead = 0, 1
        while read < len(stretches):
            if len(due) >= PAGE and stretches[read][1] > stretches[read - 1][1]:
                return due, stretches[read][1] - 1
            _read(client, tag, [name for name, _ in stretches[read : read + ahead]], due)
            read += ahead
            ahead = min(2 * ahead, max(PAGE - len(due), 0) * read // max(len(due), 1) + 1)
        return due, None

    def write(self, pipe: Any, tag: str, sequence: int, wakes: Sequence[Wake], woken: EventTime, expire_at: int) -> None:
        """Adds the commands to a transaction. Whoever was due up to `woken` has been woken. The same `sequence` again is another try."""
        stretches = self._stretches.setdefault(tag, {})
        before, dropped = self._dropped.get(tag, (sequence, []))
        if before < sequence:  # that write has happened
            for name in dropped:
                stretches.pop(name, None)
        lists = _by_stretch(wakes, woken)
        stretches.update((name, _end(name)) for name in lists)
        over = [name for name, end in stretches.items() if end <= woken]
        self._dropped[tag] = (sequence, over)
        _append(pipe, tag, lists)
        if over:
            pipe.execute_command("UNLINK", *[f"{tag}w:{name}" for name in over])
            pipe.execute_command("ZREM", f"{tag}wakes", *over)
        self._renew(pipe, tag, sequence, lists, expire_at)

    def _renew(self, pipe: Any, tag: str, sequence: int, touched: Iterable[str], expire_at: int) -> None:
        """All that there are, once the expiry moves on: a wake-up may lie farther ahead than it."""
        before = self._renewed.get(tag)
        if before is None or before[1] != expire_at:
            before = self._renewed[tag] = (sequence, expire_at)
        for name in self._stretches[tag] if before[0] == sequence else touched:
            pipe.execute_command("EXPIREAT", f"{tag}w:{name}", expire_at)
        pipe.execute_command("EXPIREAT", f"{tag}wakes", expire_at)


def _by_stretch(wakes: Sequence[Wake], woken: EventTime) -> dict[str, list[bytes | EventTime]]:
    """What comes too late for its own time goes where the present is: that is not dropped before it has been woken."""
    lists: dict[tuple[int, int], list[bytes | EventTime]] = {}
    now = woken if woken > UNKNOWN else min([at for _, at in wakes], default=0)
    for key, at in wakes:
        ahead = at - now if at > now else 0
        level = (ahead >> _SHORTEST + _PART).bit_length()
        number = now + ahead >> _SHORTEST + level
        entry = (packed(key), at - (number << _SHORTEST + level))
        stretch = lists.get((level, number))
        if stretch is None:
            lists[level, number] = [*entry]
        else:
            stretch += entry
    return {f"{level}:{number}": entries for (level, number), entries in lists.items()}


def _append(pipe: Any, tag: str, lists: dict[str, list[bytes | EventTime]]) -> None:
    for name, entries in lists.items():
        pipe.execute_command("RPUSH", f"{tag}w:{name}", _encode(entries))
    if lists:
        pipe.execute_command("ZADD", f"{tag}wakes", *[part for name in lists for part in (_begin(name), name)])


def _read(client: Any, tag: str, names: Sequence[str], due: dict[str, EventTime]) -> None:
    """The earliest of each key."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.execute_command("LRANGE", f"{tag}w:{name}", 0, -1)
        answers = pipe.execute()
    for name, elements in zip(names, answers, strict=True):
        begin = _begin(name)
        for element in elements:
            entries: Any = iter(_decode(element))
            for raw, after in zip(entries, entries, strict=True):
                key, at = unpacked(raw), begin + after
                if at <= due.get(key, at):
                    due[key] = at


def _move_sorted_set(client: Any, tag: str, expire_at: int) -> None:
    """Releases before this one kept wake-ups in a sorted set, key by time. Two owners that both move them do no harm."""
    while page := client.zrange(f"{tag}timers", 0, PAGE - 1, withscores=True, score_cast_func=int):
        lists = _by_stretch([(key.decode(), at) for key, at in page], UNKNOWN)
        with client.pipeline(transaction=True) as pipe:
            _append(pipe, tag, lists)
            for name in lists:
                pipe.execute_command("EXPIREAT", f"{tag}w:{name}", expire_at)
            pipe.execute_command("EXPIREAT", f"{tag}wakes", expire_at)
            pipe.execute_command("ZREM", f"{tag}timers", *[key for key, _ in page])
            pipe.execute()


def _begin(name: str) -> EventTime:
    level, _, number = name.partition(":")
    return int(number) << _SHORTEST + int(level)


def _end(name: str) -> EventTime:
    """Of what lies in it, all comes before."""
    level, _, number = name.partition(":")
    return int(number) + 1 << _SHORTEST + int(level)

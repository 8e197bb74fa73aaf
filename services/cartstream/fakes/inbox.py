"""What the fake providers took: a ring of the last messages, and counts of all."""

from __future__ import annotations

import time
from collections import Counter, deque
from itertools import islice

import msgspec


class Received(msgspec.Struct, frozen=True):
    """`n` counts from 1 over all channels. `to` is an address, a number or a subscription's id. `received_at` is real ms."""

    n: int
    channel: str
    to: str
    command_id: str | None
    journey: str | None
    step: str | None
    received_at: int
    subject: str
    length: int


class Inbox:
    """Keeps the last `most` messages, and the content of the last few."""

    def __init__(self, most: int, contents: int = 200) -> None:
        self._kept: deque[Received] = deque(maxlen=most)
        self._contents: deque[tuple[int, bytes]] = deque(maxlen=contents)
        self._counts: Counter[str] = Counter()
        self._last = 0

    def take(self, channel: str, to: str, ids: tuple[str | None, str | None, str | None], subject: str, content: bytes) -> int:
        """Keep a message; `ids` are command, journey and step. Gives its number."""
        self._last += 1
        now = time.time_ns() // 1_000_000
        self._kept.append(Received(self._last, channel, to, *ids, now, subject, len(content)))
        self._contents.append((self._last, content))
        self._counts[channel] += 1
        return self._last

    def after(self, n: int, most: int = 10_000) -> list[Received]:
        """Messages beyond number `n` that are still kept, oldest first."""
        skip = max(0, n - (self._last - len(self._kept)))
        return list(islice(self._kept, skip, skip + most))

    def content(self, n: int) -> bytes | None:
        return next((content for number, content in self._contents if number == n), None)

    def counts(self) -> dict[str, int]:
        return {channel: self._counts[channel] for channel in ("email", "sms", "push")}

    def clear(self) -> None:
        """Numbers go on."""
        self._kept.clear()
        self._contents.clear()
        self._counts.clear()

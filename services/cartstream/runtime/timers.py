"""Wake-ups of one partition: at most one a key, re-armed lazily, read from the store as time comes near them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from cartstream.events.times import EventTime


class Timers:
    """Keys by due time. An earlier time comes before a later one at once; a later one waits until the earlier pops.

    What an earlier one came before stays: when that has popped, it is armed again, and need not be written again. So a key may pop for
    nothing; whoever is woken for nothing changes nothing.

    `known` says up to which time (included) all that the store has is here; None: all. Whoever fires asks `knows` first and calls
    `learn`. What was wanted meanwhile is newer than what the store had.
    """

    def __init__(self, due: dict[str, EventTime], known: EventTime | None = None) -> None:
        self._due = due
        self._after: dict[str, EventTime] = {}
        self._heap = [(at, key) for key, at in due.items()]
        heapq.heapify(self._heap)
        self.known = known
        self._new: list[tuple[str, EventTime]] = []
        self._looked: list[tuple[EventTime, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def knows(self, watermark: EventTime) -> bool:
        return self.known is None or watermark <= self.known

    def learn(self, due: dict[str, EventTime], known: EventTime | None) -> None:
        """More of what the store has, all up to `known`."""
        for key, at in due.items():
            armed = self._due.get(key)
            if armed is None:
                self._due[key] = at
            elif at > armed and key not in self._after:
                self._after[key] = at
            else:
                continue
            heapq.heappush(self._heap, (at, key))
        self.known = known

    def armed(self, key: str) -> EventTime | None:
        """None also for one that the store has and that is not here yet: wanting it again is then right, if not needed."""
        return self._due.get(key)

    def want(self, key: str, at: EventTime) -> None:
        """The key's state wants to be woken at `at`."""
        armed = self._due.get(key)
        if armed is None or at < armed:
            if armed is not None:
                self._after[key] = armed
            self._due[key] = at
            self._new.append((key, at))
            heapq.heappush(self._heap, (at, key))

    def cancel(self, key: str) -> None:
        """The key's state is gone."""
        self._due.pop(key, None)
        self._after.pop(key, None)

    def pop_due(self, watermark: EventTime) -> Iterator[tuple[EventTime, str]]:
        """Each key due at or before the watermark, earliest first. The caller wakes it and calls `want` before the next."""
        while self._heap and self._heap[0][0] <= watermark:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                after = self._after.pop(key, None)
                if after is None:
                    del self._due[key]
                else:
                    self._due[key] = after
                yield at, key

    def look_ahead(self, watermark: EventTime) -> list[str]:
        """The keys that `pop_due` would give now, but for those of the last look: to load their states ahead. `look_back` comes before
        anything else but `knows`, `learn` and another look."""
        first = len(self._looked)
        while self._heap and self._heap[0][0] <= watermark:
            self._looked.append(heapq.heappop(self._heap))
        return [key for at, key in self._looked[first:] if self._due.get(key) == at]

    def look_back(self) -> None:
        """All is as before."""
        for entry in self._looked:
            heapq.heappush(self._heap, entry)
        self._looked.clear()

    def take_new(self) -> list[tuple[str, EventTime]]:
        """What the store has to be told: what was wanted since the last call, but for what has popped or was given up since."""
        new, self._new = self._new, []
        return [(key, at) for key, at in new if at in (self._due.get(key), self._after.get(key))]

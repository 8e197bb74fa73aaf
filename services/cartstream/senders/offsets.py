"""How far a partition may be committed: up to its oldest unfinished command, whatever finished behind it."""

from __future__ import annotations

import heapq


class Progress:
    """One partition. Memory grows with unfinished commands only, not with how far the oldest lags."""

    def __init__(self) -> None:
        self._unfinished: set[int] = set()
        self._heap: list[int] = []
        self._next: int | None = None
        self._committed: int | None = None

    def started(self, offset: int) -> None:
        """Gaps (transaction markers) are fine, and so is an offset that comes again after a rebalance."""
        self._unfinished.add(offset)
        heapq.heappush(self._heap, offset)
        self._next = max(self._next or 0, offset + 1)

    def finished(self, offset: int) -> None:
        self._unfinished.discard(offset)

    def committable(self) -> int | None:
        """The offset to resume at, or None if it has not moved since `committed`."""
        while self._heap and self._heap[0] not in self._unfinished:
            heapq.heappop(self._heap)
        position = self._heap[0] if self._heap else self._next
        return position if position != self._committed else None

    def committed(self, offset: int) -> None:
        self._committed = offset

    def __len__(self) -> int:
        return len(self._unfinished)

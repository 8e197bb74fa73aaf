"""The in-memory driver: the stages of a pipeline wired by queues instead of Kafka, with stores in memory instead of Redis.

It runs the same `Partition` code as the live loop. Used by replay, by tests, and by anybody who wants to see what a stream
of events leads to without starting a server.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cartstream.events import topics
from cartstream.events.placement import partition_of
from cartstream.events.times import EventTime
from cartstream.identity.correction import copies, is_correction
from cartstream.runtime.layout import Layout
from cartstream.runtime.partition import Partition, StepFailed
from cartstream.runtime.stage import Record, Stage
from cartstream.runtime.store import MemoryStore, Wire
from cartstream.runtime.watermarks import AlignedWatermark, RecordWatermark

Observer = Callable[[Wire], None]


class Pipeline:
    """Stages in upstream-to-downstream order. Records go in by `feed`, `run` works until nothing is left to do.

    `partitions` is that of every topic. `batch_size` bounds what a stage is given at once, `wakes` whom a batch wakes (see `Layout`),
    `announce_ms` how much event time passes before a stage tells the next; results depend on none of them.
    """

    def __init__(
        self,
        stages: Sequence[Stage[Any]],
        partitions: int = 1,
        batch_size: int = 1_000,
        observe: Observer | None = None,
        announce_ms: EventTime = 0,
        wakes: int = 5_000,
    ) -> None:
        self._layout = Layout.of(partitions, partitions, 10**9, wakes)
        self._stages = list(stages)
        self._batch_size = batch_size
        self._observe = observe
        self._announce_ms = announce_ms
        self._whole = False
        self._queues: dict[tuple[str, int], deque[Record]] = defaultdict(deque)
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._read = {stage.source for stage in stages}
        self.stores = {stage.name: MemoryStore() for stage in stages}
        self._partitions = {stage.name: [self._open(stage, number) for number in range(partitions)] for stage in stages}

    def feed(self, key: str, value: bytes, topic: str = topics.CLICKSTREAM) -> None:
        """A correction of identity goes to every partition, as it does live."""
        all_of_it = copies(value, self._layout.partitions) if topic == topics.CLICKSTREAM and is_correction(value) else ()
        for number, copy in enumerate(all_of_it):
            self._enqueue(Wire(topic, key, copy, number))
        if not all_of_it:
            self._enqueue(Wire(topic, key, value))

    def run(self) -> None:
        """Until every queue is empty."""
        busy = True
        while busy:
            busy = False
            for stage in self._stages:
                for number in range(self._layout.partitions):
                    busy |= self._work(stage, number)

    def advance(self, now: EventTime) -> None:
        """All partitions of the clickstream are caught up at `now`: time passes, wake-ups fire, down to the last stage."""
        self._whole = True
        for stage in self._stages:
            for number, partition in enumerate(self._partitions[stage.name]):
                if isinstance(partition.watermark, RecordWatermark):
                    partition.watermark.follow_clock(now)
                    self._commit(stage, number, [])
        self.run()
        self._whole = False

    def states(self, service: str) -> Iterable[tuple[str, Any]]:
        """(key, state) of one service, by key."""
        stage = next(stage for stage in self._stages if stage.name == service)
        found = {key: raw for states in self.stores[service].states.values() for key, raw in states.items()}
        return [(key, stage.decode_state(found[key])) for key in sorted(found)]

    def _work(self, stage: Stage[Any], number: int) -> bool:
        queue = self._queues[stage.source, number]
        if not queue:
            return False
        self._commit(stage, number, [queue.popleft() for _ in range(min(len(queue), self._batch_size))])
        return True

    def _commit(self, stage: Stage[Any], number: int, records: list[Record]) -> None:
        aside: frozenset[int] = frozenset()
        while True:
            partition = self._partitions[stage.name][number]
            try:
                batch = partition.process(records, announce=self._tells(partition), set_aside=aside)
                break
            except StepFailed as failed:
                aside |= {failed.offset}
                self._partitions[stage.name][number] = self._open(stage, number)
        self.stores[stage.name].commit(number, batch)
        partition.done()
        left = [record for record in records if record.offset >= batch.checkpoint.next_offset]
        self._queues[stage.source, number].extendleft(reversed(left))
        for output in batch.outbox:
            self._enqueue(output)

    def _tells(self, partition: Partition[Any]) -> bool:
        mark = partition.watermark
        known = mark.upstream if isinstance(mark, AlignedWatermark) else mark.value
        return self._whole or known - partition.announced >= self._announce_ms

    def _enqueue(self, output: Wire) -> None:
        if output.partition >= 0:
            number = output.partition
        else:
            number = partition_of(output.key, self._layout.partitions) if output.key is not None else 0
        if self._observe is not None:
            self._observe(output)
        if output.topic in self._read:
            place = output.topic, number
            record = Record(output.topic, number, self._offsets[place], None if output.key is None else output.key.encode(), output.value)
            self._offsets[place] += 1
            self._queues[place].append(record)

    def _open(self, stage: Stage[Any], number: int) -> Partition[Any]:
        return Partition(stage, number, self.stores[stage.name], self.stores[stage.name].open(number, 0), self._layout)

"""Faust's Kafka transport, reading only what transactions have committed.

Faust asks for that only together with its own `exactly_once`, which brings one transactional producer a partition that insights
has no use for. The senders and journeys write in transactions; what they abort must not be counted.

A transaction's marker takes an offset that nobody reads, some hundred times a second over all partitions. Faust keeps such gaps in a
tree, built anew for each, and commits past one of them at a time: the group's offsets fall behind for ever, and memory grows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

_FETCH_BYTES = 64 * 1024


class ReadCommittedThread(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Neither Faust nor aiokafka has another way in; tests/insights proves that aborted records stay out.
        consumer._isolation_level = "read_committed"
        # Else each transaction is fetched by itself: a report half a second old is new enough for a count by the hour.
        consumer._fetch_min_bytes = _FETCH_BYTES
        return consumer


class ReadCommittedConsumer(Consumer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Of each partition, by the offset of the record behind a gap, where the gap begins. Faust drops it with the partition.
        self._gap = defaultdict(dict)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        self._gap[tp][offset_to] = offset_from

    def _new_offset(self, tp: TP) -> int | None:
        """Behind the last record of those that are acknowledged and miss none; those are forgotten."""
        acked, gaps = self._acked[tp], self._gap[tp]
        acked.sort()
        count = settled(acked, gaps, self._committed_offset[tp])
        done = acked[:count]
        del acked[:count]
        self._acked_index[tp].difference_update(done)
        for offset in done:
            gaps.pop(offset, None)
        return done[-1] + 1 if done else None


def settled(acked: Sequence[int], gaps: Mapping[int, int], committed: int | None) -> int:
    """How many of the sorted `acked` follow `committed` and each other with nothing but gaps between them.

    Faust tells no gap behind offset 0, and the first one behind `committed` without its first offset.
    """
    expected = committed + 1 if committed and committed > 1 else None
    for count, offset in enumerate(acked):
        if expected is not None and gaps.get(offset, offset) > expected:
            return count
        expected = offset + 1 if offset else None
    return len(acked)


class ReadCommittedTransport(Transport):
    Consumer = ReadCommittedConsumer

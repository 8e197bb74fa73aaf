"""Faust's Kafka transport, reading only what transactions have committed.

Faust asks for that only together with its own `exactly_once`, which brings one transactional producer a partition that insights
has no use for. The senders and journeys write in transactions; what they abort must not be counted.

Nor does it keep Faust's account of what is done. Faust acknowledges what it skips, such as what still waits when the application crashes
or stops, and then commits it. And a transaction's marker takes an offset that nobody reads, some hundred times a second over all
partitions: Faust keeps such gaps in a tree, built anew for each, and commits past one of them at a time. Here one agent reads a
partition's records in their order, so the last one that it is done with says it all.

And it sees to that order. When the group changes, Faust goes back to what is committed. But a fetch that was under way brings what lay
further on, after which it drops what it goes back for; and it does not go back where nothing is committed yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from aiokafka.errors import IllegalStateError  # type: ignore[import-untyped]
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

    async def seek_to_committed(self) -> Mapping[TP, int]:
        committed: Mapping[TP, int] = await super().seek_to_committed()
        unread = [tp for tp, offset in committed.items() if (offset is None or offset <= 0) and not self.consumer._is_changelog_tp(tp)]
        if unread:
            await self.seek_to_beginning(*unread)
        return committed


class ReadCommittedConsumer(Consumer):
    """Commits what `done` was said of, and nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._done: dict[TP, int] = {}
        self._seeks = 0

    def done(self, tp: TP, offset: int) -> None:
        """This record is dealt with, and all before it."""
        self._done[tp] = offset
        self._n_acked += 1

    async def perform_seek(self) -> None:
        self._seeks += 1
        await super().perform_seek()

    async def _wait_next_records(self, seconds: float) -> tuple[Any, Any]:
        before = self._seeks
        records, active = await super()._wait_next_records(seconds)
        if records and self._seeks != before:
            # With nothing assigned just now, whatever is assigned next is read from where it is committed.
            with suppress(AssertionError, IllegalStateError):
                await self.perform_seek()
            return None, active
        return records, active

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        for tp in revoked:
            self._done.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._done) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        # Of what Faust acknowledged by itself.
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        done = self._done.get(tp)
        return None if done is None else done + 1

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        return


class ReadCommittedTransport(Transport):
    Consumer = ReadCommittedConsumer

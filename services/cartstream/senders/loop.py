"""A sender's loop: many commands under way, offsets committed only up to the oldest unfinished one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from confluent_kafka import TopicPartition

from cartstream.errors import Fenced, PartitionHalted, Refused, Unavailable
from cartstream.events import topics
from cartstream.events.avro import Codec
from cartstream.runtime.health import Health
from cartstream.runtime.log import logger
from cartstream.runtime.metrics import SenderMetrics
from cartstream.senders.courier import Courier
from cartstream.senders.errand import Errand
from cartstream.senders.intake import Arrived, Intake, Partitions
from cartstream.senders.offsets import Progress
from cartstream.senders.publisher import Outgoing, Publisher
from cartstream.senders.readiness import Readiness
from cartstream.senders.settings import SenderSettings
from cartstream.senders.wire import Wire

T = TypeVar("T")
_POLL_S = 0.05
_NO_ROOM_S = 0.25
"""So long may the group go without its due for the sake of what was fetched ahead."""
_LOOK_EVERY_S = 5.0
_FLUSH_MOST = 2_000


@dataclass(slots=True)
class _Held:
    """A partition that this process owns."""

    number: int
    progress: Progress = field(default_factory=Progress)
    tasks: dict[Errand, asyncio.Task[None]] = field(default_factory=dict)
    """Cancelled ones stay."""

    def give_up_waiting(self) -> None:
        for errand, task in self.tasks.items():
            if not errand.critical:
                task.cancel()

    def under_way(self) -> list[asyncio.Task[None]]:
        return [task for task in self.tasks.values() if not task.done()]


class _Finished(NamedTuple):
    held: _Held
    offset: int
    records: list[Outgoing]


class SenderLoop:
    """`run` works until `stop` is called, then drains and returns. Raises PartitionHalted if going on could lose work."""

    def __init__(
        self,
        channel: str,
        courier: Courier,
        publisher: Publisher,
        codec: Codec,
        settings: SenderSettings,
        metrics: SenderMetrics,
        health: Health,
        readiness: Readiness,
    ) -> None:
        self._channel, self._courier, self._publisher = channel, courier, publisher
        self._settings, self._metrics, self._health, self._readiness = settings, metrics, health, readiness
        self._topic = settings.prefix + topics.commands(channel)
        self._wire = Wire(channel, self._topic, codec, settings.prefix, metrics)
        self._held: dict[int, _Held] = {}
        self._finished: list[_Finished] = []
        self._something = asyncio.Event()
        self._full = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._kafka_thread = ThreadPoolExecutor(1, "consumer")
        self._publish_thread = ThreadPoolExecutor(1, "publisher")
        self._intake: Intake | None = None
        self._halted: PartitionHalted | None = None
        self._looked_at = 0.0

    def stop(self) -> None:
        """From the loop's thread, at any time."""
        self._stopping.set()
        self._something.set()

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            if not await self._connect():
                return
            flusher = asyncio.create_task(self._flush_on())
            try:
                await self._poll_on(flusher)
            finally:
                flusher.cancel()
                await asyncio.wait([flusher])
            await self._leave()
        finally:
            self._kafka_thread.shutdown(wait=False)
            self._publish_thread.shutdown(wait=False)

    async def _connect(self) -> bool:
        """False if told to stop before Kafka answered."""
        while not self._stopping.is_set():
            try:
                await self._bounded(self._publisher.open)
            except Unavailable as error:
                self._readiness.wrong("kafka", str(error))
                self._health.tick()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), 1.0)
            else:
                self._intake = await self._on_kafka_thread(self._subscribe)
                return True
        return False

    def _subscribe(self) -> Intake:
        say = self._loop.call_soon_threadsafe
        return Intake(
            self._settings,
            self._topic,
            f"{self._settings.prefix}cartstream.{self._channel}",
            assigned=lambda found: self._wait_for(self._take(found)),
            revoked=lambda found: self._wait_for(self._give(found)),
            lost=lambda found: self._wait_for(self._lose(found)),
            broken=lambda why: say(self._readiness.wrong, "kafka", why),
        )

    def _wait_for(self, work: object) -> None:
        """On the consumer's thread, in a rebalance."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()  # type: ignore[arg-type]

    async def _poll_on(self, flusher: asyncio.Task[None]) -> None:
        intake = self._intake
        assert intake is not None
        while not self._stopping.is_set():
            if flusher.done():
                flusher.result()
            most = await self._room()
            messages = await self._on_kafka_thread(lambda most=most: intake.poll(_POLL_S, most))  # type: ignore[misc]
            self._health.tick()
            self._metrics.last_poll.set_to_current_time()
            if messages:
                self._metrics.consumed(self._channel, self._topic).inc(len(messages))
                for message in messages:
                    self._start(message)
            await self._look_around(intake)

    def _start(self, message: Arrived) -> None:
        held = self._held.get(message.partition)
        if held is None:
            return
        offset = message.offset
        held.progress.started(offset)
        try:
            command = self._wire.command(message)
        except Refused as error:
            self._finish(held, offset, [self._wire.dead_letter(message, error)])
            return
        errand = Errand(command)
        held.tasks[errand] = self._loop.create_task(self._carry(held, message, errand))

    async def _carry(self, held: _Held, message: Arrived, errand: Errand) -> None:
        try:
            done = await self._courier.carry(errand)
        except Exception as error:
            # One command must not stop the others, whatever is wrong with it; it is kept, counted and told.
            logger().exception("a command broke the sender", command=errand.command.command_id)
            refused = Refused("sender_error", type(error).__name__)
            self._finish(held, message.offset, [self._wire.dead_letter(message, refused)])
        else:
            self._finish(held, message.offset, self._wire.records(message, done))
        del held.tasks[errand]

    def _finish(self, held: _Held, offset: int, records: list[Outgoing]) -> None:
        """Not yet out: the offset counts as finished only when its records are in a transaction."""
        self._finished.append(_Finished(held, offset, records))
        self._something.set()
        if len(self._finished) >= _FLUSH_MOST:
            self._full.set()

    async def _flush_on(self) -> None:
        while True:
            await self._something.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._settings.send_flush_ms / 1000)
            # Shielded: a transaction under way when the sender stops must be seen to its end.
            if not await asyncio.shield(asyncio.ensure_future(self._flush())):
                await asyncio.sleep(0.5)

    async def _flush(self) -> bool:
        """One transaction of what is finished. False if it must be tried again; then nothing of it is out."""
        async with self._flushing:
            self._something.clear()
            self._full.clear()
            batch = [done for done in self._finished if self._held.get(done.held.number) is done.held]
            self._finished = []
            for done in batch:
                done.held.progress.finished(done.offset)
            self._flushed.set()
            offsets = {held.number: at for held in self._held.values() if (at := held.progress.committable()) is not None}
            if not batch and not offsets:
                return True
            try:
                await self._publish(batch, offsets)
            except (Fenced, Unavailable) as error:
                self._refused(error)
                self._finished = batch + self._finished
                self._something.set()
                return False
            self._readiness.right("kafka")
            for number, at in offsets.items():
                if number in self._held:
                    self._held[number].progress.committed(at)
            return True

    def _refused(self, error: Fenced | Unavailable) -> None:
        """Of what is tried again, the next poll takes away what is somebody else's."""
        if isinstance(error, Fenced):
            self._metrics.fenced.inc()
            logger().warning("fenced", topic=self._topic, why=str(error))
        else:
            self._readiness.wrong("kafka", str(error))

    async def _publish(self, batch: list[_Finished], offsets: dict[int, int]) -> None:
        intake = self._intake
        assert intake is not None
        places = [TopicPartition(self._topic, number, at) for number, at in offsets.items()]
        records = [record for done in batch for record in done.records]
        # Of the same moment as the offsets: a partition lost while this waits must be refused, not committed.
        group = intake.group
        await self._bounded(lambda: self._publisher.publish(records, places, group))

    async def _bounded(self, call: Callable[[], T]) -> T:
        """On the publisher's thread, with an outer limit: the client library bounds some calls badly."""
        if self._halted is not None:
            raise self._halted
        try:
            return await asyncio.wait_for(self._loop.run_in_executor(self._publish_thread, call), self._publisher.longest_s)
        except TimeoutError as error:
            # Whether it went through is unknown: nothing more may be committed behind it.
            self._halted = PartitionHalted(f"a Kafka transaction did not come back in {self._publisher.longest_s:.0f} s")
            raise self._halted from error

    async def _take(self, partitions: Partitions) -> None:
        for number in partitions:
            self._held[number] = _Held(number)
        self._metrics.partitions.set(len(self._held))
        self._readiness.right("kafka")
        logger().info("partitions taken", topic=self._topic, partitions=partitions)

    async def _give(self, partitions: Partitions) -> None:
        """Calls under way may end, waiting commands are left to the next owner, what is finished goes out: all by one deadline."""
        until = time.monotonic() + self._settings.send_drain_s
        leaving = [self._held[number] for number in partitions if number in self._held]
        await self._drain(leaving, until)
        while leaving and time.monotonic() < until and not await self._flush():  # noqa: ASYNC110 (a retry, no event)
            await asyncio.sleep(0.1)
        await self._lose(partitions)

    async def _drain(self, leaving: Iterable[_Held], until: float) -> None:
        while True:
            for held in leaving:
                held.give_up_waiting()
            tasks = [task for held in leaving for task in held.under_way()]
            if not tasks or time.monotonic() >= until:
                return
            await asyncio.wait(tasks, timeout=min(0.05, max(0.0, until - time.monotonic())))

    async def _lose(self, partitions: Partitions) -> None:
        """What is still under way keeps writing to the ledger; its end is told by the next owner."""
        going = [held for number in partitions if (held := self._held.pop(number, None)) is not None]
        for held in going:
            held.give_up_waiting()
        self._metrics.partitions.set(len(self._held))
        if going:
            logger().info("partitions given", topic=self._topic, partitions=[held.number for held in going])

    async def _leave(self) -> None:
        self._health.not_ready("draining")
        intake = self._intake
        assert intake is not None
        await self._give(list(self._held))
        await self._on_kafka_thread(intake.close)

    async def _look_around(self, intake: Intake) -> None:
        if time.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        if self._readiness.is_wrong("kafka") and await self._on_kafka_thread(intake.reachable):
            self._readiness.right("kafka")
        for partition, lag in (await self._on_kafka_thread(intake.lags)).items():
            self._metrics.lag(self._channel, str(partition)).set(lag)

    async def _room(self) -> int:
        """How many commands may be taken in; waits a moment for the first."""
        until = time.monotonic() + _NO_ROOM_S
        while (room := self._settings.send_pending - self._unfinished()) <= 0 and (left := until - time.monotonic()) > 0:
            self._flushed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._flushed.wait(), left)
        return max(0, min(room, self._settings.send_poll))

    def _unfinished(self) -> int:
        return sum(len(held.progress) for held in self._held.values())

    async def _on_kafka_thread(self, call: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._kafka_thread, call)

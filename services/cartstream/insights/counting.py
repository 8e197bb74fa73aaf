"""The Faust application: one agent over all sources, one windowed table, one page."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from faust.types import TP

from cartstream.errors import Refused
from cartstream.events import topics
from cartstream.events.avro import codec
from cartstream.events.times import SECOND
from cartstream.insights.metrics import InsightsMetrics
from cartstream.insights.read_committed import ReadCommittedConsumer, ReadCommittedTransport
from cartstream.insights.report import DEFAULT_HOURS, Report, as_json, figures, report
from cartstream.insights.settings import SOURCES, TABLE, InsightsSettings
from cartstream.insights.tally import HOUR_S, Tally, counts, measure_of
from cartstream.runtime.clock import Clock
from cartstream.runtime.kafka import LARGEST_RECORD
from cartstream.runtime.log import logger
from cartstream.runtime.metrics import StageMetrics

SERVICE = "insights"
_MOST_HOURS = 24 * 366


class _App(faust.App):
    def _create_directories(self) -> None:
        """None: the table is in memory, and a folder would be left behind by each process that is killed."""


class Counting:
    """One run of the application: `start`, `stop`; after a crash, make another.

    A record that cannot be used goes to `<topic>.dlq`, acknowledged before the next one is read. Anything else that goes wrong
    crashes the application rather than skip the record.
    """

    def __init__(self, settings: InsightsSettings, clock: Clock, common: StageMetrics, own: InsightsMetrics) -> None:
        self._settings, self._clock, self._common, self._own = settings, clock, common, own
        self._sources = {settings.prefix + name: name for name in SOURCES}
        self.app = _App(settings.group, **_conf(settings))
        self.app.transport = ReadCommittedTransport(self.app.conf.broker_consumer, self.app)
        self._dead = {name: self._raw_topic(topics.dead_letters(name)) for name in self._sources}
        self._table = self.app.Table(TABLE, partitions=settings.partitions, extra_topic_configs={"cleanup.policy": "compact"}).tumbling(
            float(HOUR_S)
        )
        self._tally = Tally(self._table.table, settings.retention_ms)
        self.app.agent(self._raw_topic(*self._sources), name=SERVICE)(self._count)
        self.app.page("/insights")(_page(self))
        self.app.on_rebalance_complete.connect(self._on_rebalance, weak=False)
        self.joined = False

    @property
    def not_ready(self) -> str | None:
        if not self.joined:
            return "waiting for the consumer group"
        if self.app.rebalancing:
            return "the consumer group is changing"
        return "reading the counts back from the changelog" if self.app.in_recovery else None

    def report(self, hours: int = DEFAULT_HOURS) -> Report:
        owned = self.partitions()
        return report(list(counts(self._table.table, owned)), owned, hours)

    def partitions(self) -> frozenset[int]:
        """Those whose records this process counts."""
        return frozenset(place.partition for place in self._places())

    async def observe(self) -> None:
        """Fill the gauges: partitions, rates, lag."""
        places = self._places()
        self._common.last_poll.set_to_current_time()
        self._common.partitions.set(len({place.partition for place in places}))
        rows = list(counts(self._table.table, self.partitions()))
        self._own.totals(figures((measure, count) for measure, _, count in rows), len(rows))
        try:
            for place in places:
                await self._observe_lag(place)
        except KafkaError as error:
            logger().info("lag unknown while partitions change hands", error=type(error).__name__)

    async def _observe_lag(self, place: TP) -> None:
        position, end = await self.app.consumer.position(place), self.app.consumer.highwater(place)
        if position is not None and end is not None:
            # A transaction's commit marker at the end takes an offset that nobody ever reads.
            self._common.lag(SERVICE, f"{self._sources[place.topic]}-{place.partition}").set(max(0, end - position - 1))

    def _places(self) -> Sequence[TP]:
        return [place for place in self.app.consumer.assignment() if place.topic in self._sources] if self.joined else []

    async def _count(self, stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                await self._take(event.value or b"", event.message)
            except Exception as error:
                logger().error("counting failed: starting again from the last commit", error=f"{type(error).__name__}: {error}")
                await self.app.crash(error)
                # Faust starts an agent that ends again, with the next record: wait until all is stopped.
                await asyncio.Event().wait()
            cast(ReadCommittedConsumer, self.app.consumer).done(event.message.tp, event.message.offset)

    async def _take(self, value: bytes, message: Any) -> None:
        try:
            verdict = self._add(value, message)
        except Refused as refused:
            await self._set_aside(value, message, refused)
            verdict = "dlq"
        self._common.consumed(SERVICE, self._sources[message.topic]).inc()
        self._common.processed(SERVICE, verdict).inc()
        self._common.last_processed.set_to_current_time()

    def _add(self, value: bytes, message: Any) -> str:
        """Raises Refused."""
        record = codec().decode(value)
        found = measure_of(record)
        if found is None:
            return "control"
        measure, at = found
        now = self._clock.now()
        if at > now + self._settings.insights_future_s * SECOND:
            raise Refused("future", "its event time is further ahead of the clock than CARTSTREAM_INSIGHTS_FUTURE_S")
        verdict = self._tally.add(record, message.partition, message.offset)
        if verdict == "ok":
            self._own.counted(measure)
            self._common.event_age.observe(max(0.0, (now - at) / SECOND / self._clock.speed))
        return verdict

    async def _set_aside(self, value: bytes, message: Any, refused: Refused) -> None:
        name = self._sources[message.topic]
        headers = {
            "cs-reason": refused.reason,
            "cs-detail": refused.detail,
            "cs-service": SERVICE,
            "cs-topic": name,
            "cs-partition": str(message.partition),
            "cs-offset": str(message.offset),
            "cs-timestamp": str(int(message.timestamp * SECOND)),
        }
        came = message.headers or []
        kept = list(came.items() if isinstance(came, Mapping) else came)
        sent = await self._dead[message.topic].send(
            key=message.key, value=value, headers=[*kept, *((header, text.encode()) for header, text in headers.items())]
        )
        await sent
        self._common.dlq(SERVICE, refused.reason).inc()
        logger().warning("dead letter", topic=name, partition=message.partition, offset=message.offset, reason=refused.reason)

    async def _on_rebalance(self, *_: Any, **__: Any) -> None:
        self._tally.forget()
        self.joined = True
        self._common.rebalances(SERVICE, "assigned").inc()

    def _raw_topic(self, *names: str) -> Any:
        return self.app.topic(*names, key_serializer="raw", value_serializer="raw")


def _page(counting: Counting) -> Any:
    async def insights(view: Any, request: Any) -> Any:
        hours = request.query.get("hours", str(DEFAULT_HOURS))
        if not hours.isdecimal() or not 0 <= int(hours) <= _MOST_HOURS:
            return view.json({"error": f"hours is a number from 0 to {_MOST_HOURS}"}, status=400)
        return view.json(as_json(counting.report(int(hours))))

    return insights


def _conf(settings: InsightsSettings) -> dict[str, Any]:
    session_s = settings.session_timeout_ms / 1000
    return {
        "broker": ";".join(f"kafka://{address.strip()}" for address in settings.brokers.split(",")),
        "broker_check_crcs": settings.insights_check_crcs,
        "broker_commit_interval": settings.insights_commit_s,
        "broker_session_timeout": session_s,
        "broker_heartbeat_interval": max(0.3, min(3.0, session_s / 10)),
        "consumer_auto_offset_reset": "earliest",
        "key_serializer": "raw",
        "value_serializer": "raw",
        "store": "memory://",
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication,
        "topic_allow_declare": settings.insights_declare_topics,
        "topic_disable_leader": True,
        "stream_wait_empty": False,
        "producer_linger": 0.005,
        "producer_max_request_size": LARGEST_RECORD,
        "web_bind": settings.insights_host,
        "web_host": settings.insights_host,
        "web_port": settings.insights_port,
        **{f"web_{page}_enabled": False for page in ("stats", "graph", "router", "tables", "metrics")},
    }

"""`cartstream run insights`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cartstream import __version__
from cartstream.errors import CartstreamError, ConfigError, Unavailable
from cartstream.insights.counting import SERVICE, Counting
from cartstream.insights.metrics import InsightsMetrics
from cartstream.insights.settings import SOURCES, InsightsSettings
from cartstream.runtime import log
from cartstream.runtime.clock import parse_clock
from cartstream.runtime.health import Health, HealthServer
from cartstream.runtime.kafka import partition_count
from cartstream.runtime.lifeline import STUCK_EXIT_CODE
from cartstream.runtime.metrics import StageMetrics, new_registry
from cartstream.runtime.settings import load

_OBSERVE_EVERY_S = 1.0
_LOOK_AGAIN_S = 0.2
"""While it is not ready: whoever waits for it hears soon that it is."""
_STOP_S = 10.0
_ANSWER_S = 3.0
_BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0)


def run() -> int:
    """Count until SIGTERM or SIGINT. The exit code: 0 after a stop, 1 when it cannot go on, 2 for a wrong setting."""
    try:
        settings = load(InsightsSettings)
        log.configure(settings.log_level, settings.log_format, service=SERVICE)
        _pass_on_warnings()
        asyncio.run(Service(settings).run())
    except ConfigError as error:
        print(f"cartstream: {error}", file=sys.stderr)
        return 2
    except CartstreamError as error:
        log.logger().error("stopped: cannot go on", why=str(error))
        return 1
    log.logger().info("stopped")
    return 0


class Service:
    """Keeps one `Counting` running until it is told to stop; after a crash, with backoff, the next."""

    def __init__(self, settings: InsightsSettings) -> None:
        self._settings = settings
        self._clock = parse_clock(settings.clock)
        self._registry = new_registry(SERVICE, __version__)
        self._common, self._own = StageMetrics(SERVICE, self._registry), InsightsMetrics(self._registry)
        self._health = Health()
        self._stop = asyncio.Event()
        self._wrong: str | None = "starting"
        self._client = _client(settings)
        self._failures = 0

    async def run(self) -> None:
        """Raises CartstreamError when the topics are not as the settings say."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        server = HealthServer(self._health, self._registry, self._settings.metrics_host, self._settings.metrics_port)
        server.start()
        log.logger().info("started", port=server.port, insights_port=self._settings.insights_port, version=__version__)
        try:
            while not self._stop.is_set():
                if await self._kafka_is_there():
                    await self._count_on()
        finally:
            server.stop()

    async def _kafka_is_there(self) -> bool:
        self._health.tick()
        try:
            await asyncio.to_thread(check_topics, self._client, self._settings)
        except Unavailable as error:
            await self._wait(str(error))
            return False
        return True

    async def _count_on(self) -> None:
        counting = Counting(self._settings, self._clock, self._common, self._own)
        starting = asyncio.create_task(counting.app.start())
        while not (self._stop.is_set() or counting.app.crashed or (starting.done() and starting.exception())):
            await self._look_at(counting)
        self._health.not_ready("stopping")
        crash = counting.app.crash_reason or (starting.exception() if starting.done() else None)
        starting.cancel()
        await self._end(counting)
        if crash is not None and not self._stop.is_set():
            await self._wait(f"Faust: {type(crash).__name__}: {crash}")

    async def _end(self, counting: Counting) -> None:
        """Stop it, or, where it waits for a broker that is gone, end the process: what is not committed is read again and counts once."""
        _, hanging = await asyncio.wait({asyncio.create_task(counting.app.stop())}, timeout=_STOP_S)
        if hanging:
            log.logger().warning("Faust does not stop: ending the process", seconds=_STOP_S)
            os._exit(0 if self._stop.is_set() else STUCK_EXIT_CODE)

    async def _look_at(self, counting: Counting) -> None:
        self._health.tick()
        wrong = counting.not_ready or await asyncio.to_thread(self._silence)
        self._tell(wrong)
        if counting.not_ready is None:
            await self._observe(counting)
        await self._pause(_OBSERVE_EVERY_S if wrong is None else _LOOK_AGAIN_S)

    async def _observe(self, counting: Counting) -> None:
        """In time: a question to a consumer that crashes meanwhile is never answered, or called off, which must not call off this."""
        asking = asyncio.create_task(counting.observe())
        await asyncio.wait({asking}, timeout=_ANSWER_S)
        if asking.done() and not asking.cancelled():
            return asking.result()
        asking.cancel()
        log.logger().info("lag unknown: the consumer does not answer")
        return None

    def _tell(self, wrong: str | None) -> None:
        if wrong != self._wrong:
            log.logger().info("ready") if wrong is None else log.logger().warning("not ready", why=wrong)
        self._wrong = wrong
        if wrong is None:
            self._failures = 0
            self._health.ready()
        else:
            self._health.not_ready(wrong)

    def _silence(self) -> str | None:
        """Faust goes on trying for ever while no broker answers, and does not say so."""
        try:
            self._client.list_topics(self._settings.prefix + SOURCES[0], timeout=_ANSWER_S)
        except KafkaException as error:
            self._client = _client(self._settings)  # a client may have lost every broker: see `runtime.lifeline`
            return f"Kafka: {error.args[0].str()}"
        return None

    async def _wait(self, why: str) -> None:
        seconds = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        self._health.not_ready(why)
        log.logger().warning("waiting", why=why, seconds=seconds)
        await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


def _client(settings: InsightsSettings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.brokers, "log_level": 0})


def check_topics(client: AdminClient, settings: InsightsSettings) -> None:
    """Raises Unavailable while Kafka or a topic is not there, CartstreamError when a topic has another number of partitions.

    The rows of a partition are fed by the same partition of every source, so the numbers must agree.
    """
    for name in SOURCES:
        found = partition_count(client, settings.prefix + name)
        if found != settings.partitions:
            raise CartstreamError(
                f"topic {settings.prefix + name} has {found} partitions, CARTSTREAM_PARTITIONS says {settings.partitions}: "
                "set it to what the topics have"
            )


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.logger().warning("library", logger=record.name, level_name=record.levelname, message=record.getMessage()[:500])


def _pass_on_warnings() -> None:
    """What Faust complains of, in our own form. While no broker answers aiokafka has ten lines a second; `_tell` has one."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

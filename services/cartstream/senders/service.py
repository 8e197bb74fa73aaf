"""One sender process: settings, ports, signals, run."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import uuid
from typing import Any

import uvloop
from redis.asyncio import Redis

import cartstream
from cartstream.errors import CartstreamError, ConfigError, PartitionHalted
from cartstream.events.avro import codec
from cartstream.runtime import log
from cartstream.runtime.clock import parse_clock
from cartstream.runtime.health import Health, HealthServer
from cartstream.runtime.metrics import SenderMetrics, new_registry
from cartstream.runtime.settings import load
from cartstream.runtime.slots import ClusterUrl
from cartstream.runtime.vault import AddressHash, Vault
from cartstream.senders.channel import Channel
from cartstream.senders.contacts import Desk
from cartstream.senders.courier import Courier, Ports
from cartstream.senders.email.smtp import EmailChannel
from cartstream.senders.ledger import Ledger
from cartstream.senders.level import Level
from cartstream.senders.limits import Gate, Limiter
from cartstream.senders.loop import SenderLoop
from cartstream.senders.publisher import Publisher
from cartstream.senders.push.webpush import PushChannel
from cartstream.senders.readiness import Readiness, insist
from cartstream.senders.redis_cluster import ClusterRedis
from cartstream.senders.settings import EmailSettings, PushSettings, SenderSettings, SmsSettings
from cartstream.senders.sms.twilio import SmsChannel

_PING_EVERY_S = 5.0


def run(channel: str) -> int:
    """Send `channel`'s commands until SIGTERM or SIGINT. The exit code: 0, 2 for wrong settings, 1 if work could be lost."""
    try:
        settings, made = make_channel(channel)
        log.configure(settings.log_level, settings.log_format, service=channel)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(made, settings))
    except ConfigError as error:
        print(f"cartstream: {error}", file=sys.stderr)
        return 2
    except PartitionHalted as error:
        log.logger().error("stopped", why=str(error))
        # A thread is stuck in the client library and would hold up a normal exit for ever.
        os._exit(1)
    except CartstreamError as error:
        log.logger().error("stopped", why=str(error))
        return 1
    return 0


def make_channel(name: str) -> tuple[SenderSettings, Channel]:
    """Raises ConfigError."""
    if name == "email":
        email = load(EmailSettings)
        return email, EmailChannel(email)
    if name == "sms":
        sms = load(SmsSettings)
        return sms, SmsChannel(sms)
    if name == "push":
        push = load(PushSettings)
        return push, PushChannel(push)
    raise ConfigError(f"no sender for {name!r}: say email, sms or push")


async def _serve(channel: Channel, settings: SenderSettings) -> None:
    registry = new_registry(channel.name, cartstream.__version__)
    health = Health()
    server = HealthServer(health, registry, settings.metrics_host, settings.metrics_port)
    server.start()
    log.logger().info("serving metrics", port=server.port)
    redis = connect(settings)
    try:
        readiness = Readiness(health, "kafka", "redis")
        sender = await build(channel, settings, redis, SenderMetrics(channel.name, registry), health, readiness)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, sender.stop)
        watch = asyncio.create_task(watch_redis(redis, readiness))
        # What is there now stays; of what comes, next to nothing is in cycles, and looking for them was an eighth of all CPU time.
        gc.freeze()
        gc.set_threshold(50_000, 20, 1_000)
        await sender.run()
        watch.cancel()
    finally:
        await channel.close()
        await redis.aclose()
        server.stop()


def connect(settings: SenderSettings) -> Redis:
    """Does not connect yet. Raises ConfigError."""
    url = settings.redis_url.get_secret_value()
    limits: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 5, "health_check_interval": 30}
    try:
        return ClusterRedis(url, **limits) if ClusterUrl.names_cluster(url) else Redis.from_url(url, **limits)
    except ValueError as error:
        raise ConfigError(f"CARTSTREAM_REDIS_URL: {error}") from error


async def watch_redis(redis: Redis, readiness: Readiness) -> None:
    """An idle sender, too, knows whether Redis answers."""
    while True:
        await insist("redis", readiness, lambda: redis.execute_command("PING"))  # type: ignore[no-untyped-call]
        await asyncio.sleep(_PING_EVERY_S)


async def build(
    channel: Channel,
    settings: SenderSettings,
    redis: Redis,
    metrics: SenderMetrics,
    health: Health,
    readiness: Readiness,
) -> SenderLoop:
    """Wire one sender; connects to nothing. Raises ConfigError."""
    ledger = Ledger(redis, settings.prefix, channel.name)
    level = Level(redis, settings.brokers, settings.prefix)
    limiter, gate = Limiter(redis, f"{settings.prefix}{{limit:{channel.name}}}", channel.rate), Gate()
    ports = Ports(
        redis=redis,
        desk=Desk(redis, settings.prefix, settings.partitions, ledger, level, limiter.pause_key, gate),
        ledger=ledger,
        limiter=limiter,
        gate=gate,
        vault=Vault(settings.vault_keys.get_secret_value()),
        hash=AddressHash(settings.hash_key.get_secret_value()),
        clock=parse_clock(settings.clock),
        metrics=metrics,
        readiness=readiness,
    )
    await channel.open()
    transactional_id = f"{settings.prefix}cartstream.{channel.name}.{settings.instance_id or uuid.uuid4().hex}"
    publisher = Publisher(settings.brokers, transactional_id, settings.transaction_timeout_ms)
    courier = Courier(channel, ports, settings)
    return SenderLoop(channel.name, courier, publisher, codec(), settings, metrics, health, readiness)

"""The wiring that every stateful service shares: settings, logs, metrics, signals, loop."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from cartstream import __version__
from cartstream.errors import CartstreamError, ConfigError
from cartstream.runtime import log, memory
from cartstream.runtime.clock import Clock, parse_clock
from cartstream.runtime.health import Health, HealthServer
from cartstream.runtime.loop import StageLoop
from cartstream.runtime.metrics import StageMetrics, new_registry
from cartstream.runtime.progress import Progress
from cartstream.runtime.redis_lives import Lives, watched
from cartstream.runtime.redis_store import RedisStore, connect
from cartstream.runtime.settings import StageSettings
from cartstream.runtime.stage import Stage

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Means:
    """What a stage may be built with, beside its settings. `lives` are those that the client meets."""

    clock: Clock
    redis: redis.Redis
    lives: Lives


def run_stage(name: str, settings: StageSettings, build: Callable[[Means], Stage[Any]], idle_grace_ms: int = 0) -> int:
    """Run a stage until SIGTERM or SIGINT. `build` asks no server.

    The exit code: 0 after a stop, 1 when it could not go on, 2 for a wrong setting.
    """
    log.configure(settings.log_level, settings.log_format, service=name)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        clock = parse_clock(settings.clock)
        client = connect(settings.redis_url.get_secret_value())
        lives = watched(client)
        registry = new_registry(name, __version__)
        health = Health()
        stage = build(Means(clock, client, lives))
        server = HealthServer(health, registry, settings.metrics_host, settings.metrics_port)
        server.start()
        log.logger().info("started", port=server.port, version=__version__)
        progress = Progress(StageMetrics(name, registry), clock)
        store = RedisStore(client, settings.prefix, name, settings.state_ttl_days * DAY_S, lives=lives)
        # A full collection walks every cached state. What a batch allocates dies by reference count, so seldom is enough.
        sys.setswitchinterval(0.001)
        gc.freeze()
        gc.set_threshold(50_000, 20, 1_000)
        memory.keep_house(stop)
        StageLoop(stage, settings, store, clock, progress, health, stop, idle_grace_ms).run()
    except ConfigError as error:
        log.logger().error("wrong setting", why=str(error))
        return 2
    except CartstreamError as error:
        log.logger().error("stopped: cannot go on", why=str(error))
        return 1
    log.logger().info("stopped")
    return 0

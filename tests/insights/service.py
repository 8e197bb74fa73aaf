"""The insights service as a process, fed through a real client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
from confluent_kafka import Producer

from cartstream.embedded.child import free_port
from cartstream.events.avro import codec
from cartstream.events.records import Command, Delivery, Signal
from cartstream.events.times import EventTime
from cartstream.insights.settings import SOURCES, InsightsSettings
from cartstream.runtime.settings import load

PARTITIONS = 4
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.1


def topics(prefix: str) -> dict[str, int]:
    names = {prefix + name: PARTITIONS for name in SOURCES}
    return names | {f"{name}.dlq": 1 for name in names}


def changelog(prefix: str) -> dict[str, int]:
    """For a broker that lets no client make topics."""
    return {load(InsightsSettings, prefix=prefix).changelog: PARTITIONS}


class Feed:
    """Writes transactions, as the pipeline does."""

    def __init__(self, address: str, prefix: str) -> None:
        self._prefix = prefix
        self._producer = Producer(
            {
                "bootstrap.servers": address,
                "transactional.id": f"{prefix}feed",
                "compression.type": "lz4",
                "message.max.bytes": 3_000_000,
                "log_level": 3,
            }
        )
        self._producer.init_transactions(30)

    def write(self, *records: tuple[str, msgspec.Struct | bytes], commit: bool = True) -> None:
        """(topic, record) pairs, spread over the partitions."""
        self._producer.begin_transaction()
        for n, (topic, record) in enumerate(records):
            value = record if isinstance(record, bytes) else codec().encode(record)
            self._producer.produce(self._prefix + topic, value, f"customer-{n}".encode(), n % PARTITIONS)
        self._producer.flush(30)
        if commit:
            self._producer.commit_transaction(30)
        else:
            self._producer.abort_transaction(30)


def story(at: EventTime, customers: int = 20) -> list[tuple[str, msgspec.Struct]]:
    """Of each customer a signal, a command and its delivery; every fifth delivery is suppressed."""
    found: list[tuple[str, msgspec.Struct]] = []
    for n in range(customers):
        found += [("signals", _signal(n, at)), ("commands.email", _command(n, at)), ("deliveries", _delivery(n, at))]
    return found


def _signal(n: int, at: EventTime) -> Signal:
    return Signal(id=f"signal-{n}", kind="cart_abandoned", customer_id=f"customer-{n}", at=at, last_activity=at)


def _command(n: int, at: EventTime) -> Command:
    return Command(
        command_id=f"command-{n}",
        customer_id=f"customer-{n}",
        channel="email",
        journey="cart_abandonment",
        step="reminder",
        template="cart_reminder",
        at=at,
        expires_at=at,
        guard="cart",
        order_mark=0,
    )


def _delivery(n: int, at: EventTime) -> Delivery:
    return Delivery(
        id=f"delivery-{n}",
        command_id=f"command-{n}",
        customer_id=f"customer-{n}",
        channel="email",
        journey="cart_abandonment",
        step="reminder",
        at=at,
        status="suppressed" if n % 5 == 0 else "accepted",
    )


class Running:
    def __init__(self, process: subprocess.Popen[bytes], port: int, health_port: int) -> None:
        self._process, self._port, self._health_port = process, port, health_port

    def report(self, query: str = "") -> Any:
        return json.loads(self._get(self._port, f"/insights{query}"))

    def metrics(self) -> str:
        return self._get(self._health_port, "/metrics")

    def ready(self) -> bool:
        try:
            return self._get(self._health_port, "/readyz") == "ok\n"
        except OSError:
            return False

    def wait(self, condition: Callable[[Any], bool]) -> Any:
        """The first report of a ready service for which it holds."""
        deadline, last = time.monotonic() + WAIT_SECONDS, None
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"the service ended with code {self._process.returncode}"
            if self.ready():
                last = self.report()
                if condition(last):
                    return last
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"not within {WAIT_SECONDS:.0f} s; the last report: {last}")

    def not_ready(self) -> str:
        """Why; empty while it does not answer or is ready."""
        try:
            self._get(self._health_port, "/readyz")
        except HTTPError as refused:
            return refused.read().decode()
        except OSError:
            return ""
        return ""

    def alive(self) -> bool:
        return self._get(self._health_port, "/livez") == "ok\n"

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self.ends()

    def ends(self) -> int:
        """Wait for its exit code."""
        return self._process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _get(self, port: int, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


@contextmanager
def insights(address: str, prefix: str, **settings: str) -> Iterator[Running]:
    port, health_port = free_port(), free_port()
    environment = {
        "CARTSTREAM_BROKERS": address,
        "CARTSTREAM_PREFIX": prefix,
        "CARTSTREAM_PARTITIONS": str(PARTITIONS),
        "CARTSTREAM_INSIGHTS_PORT": str(port),
        "CARTSTREAM_METRICS_PORT": str(health_port),
        "CARTSTREAM_SESSION_TIMEOUT_MS": "6000",
        "CARTSTREAM_INSIGHTS_COMMIT_S": "0.5",
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "cartstream.cli", "run", "insights"], env={**os.environ, **environment})
    try:
        yield Running(process, port, health_port)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()

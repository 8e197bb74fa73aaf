"""The health server answers whoever waits for it, and does not mind who does not."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cartstream.runtime.health import Health, HealthServer

WAIT_SECONDS = 20.0


class Slow(Collector):
    """A metric that is read only when the scraper may have hung up."""

    def __init__(self, broken: bool = False) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self._broken = broken

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        self.asked.set()
        assert self.go_on.wait(WAIT_SECONDS)
        if self._broken:
            raise LookupError("no such figure")
        yield GaugeMetricFamily("figure", "of no meaning", value=1)


@contextmanager
def serving(metric: Slow) -> Iterator[int]:
    registry = CollectorRegistry()
    registry.register(metric)
    health = Health()
    health.ready()
    server = HealthServer(health, registry, "127.0.0.1", 0)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def get(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT_SECONDS) as answer:
        return str(answer.read().decode())


def wait_for_the_answers(before: set[threading.Thread]) -> None:
    """Until each thread that answers somebody has ended, and said whatever it had to say."""
    deadline = time.monotonic() + WAIT_SECONDS
    for thread in set(threading.enumerate()) - before:
        if "process_request" in thread.name:
            thread.join(deadline - time.monotonic())
            assert not thread.is_alive()


def test_a_scraper_that_hangs_up_leaves_no_trace_and_the_next_is_answered(capfd: pytest.CaptureFixture[str]) -> None:
    metric, before = Slow(), set(threading.enumerate())
    with serving(metric) as port:
        with socket.create_connection(("127.0.0.1", port)) as scraper:
            scraper.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            scraper.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert metric.asked.wait(WAIT_SECONDS)
        metric.go_on.set()
        wait_for_the_answers(before)

        assert "figure 1.0" in get(port, "/metrics")
        assert get(port, "/readyz") == "ok\n"
    said = capfd.readouterr()
    # Kafka clients of other tests write here too, when their broker has gone.
    assert [line for line in (said.out + said.err).splitlines() if not line.startswith("%")] == []


def test_a_defect_of_a_metric_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    metric, before = Slow(broken=True), set(threading.enumerate())
    metric.go_on.set()
    with serving(metric) as port:
        with pytest.raises((HTTPError, OSError)):
            get(port, "/metrics")
        wait_for_the_answers(before)

    said = capfd.readouterr()
    assert "no such figure" in said.out + said.err

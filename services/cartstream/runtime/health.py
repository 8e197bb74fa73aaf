"""`/livez`, `/readyz` and `/metrics` on one port.

Alive means that the loop makes progress, never that Kafka or Redis answer: else an outage becomes a restart storm.
Ready means joined (no partition is fine), Redis answering, not draining.
"""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from cartstream.errors import ConfigError
from cartstream.runtime.log import logger


class Health:
    """What the loop reports: a tick per round, and why it is not ready. Thread-safe: single assignments only."""

    def __init__(self, stalled_after_s: float = 240.0) -> None:
        self._stalled_after_s = stalled_after_s
        self._tick = time.monotonic()
        self._not_ready: str | None = "starting"
        self._stuck: str | None = None

    def tick(self) -> None:
        self._tick = time.monotonic()

    def ready(self) -> None:
        self._not_ready = None

    def not_ready(self, why: str) -> None:
        self._not_ready = why

    def stuck(self, why: str | None) -> None:
        """A partition that cannot go on: alive, but somebody must look. None takes it back."""
        self._stuck = why

    def liveness(self) -> str | None:
        """None, or what is wrong."""
        quiet = time.monotonic() - self._tick
        return f"no loop tick for {quiet:.0f} s" if quiet > self._stalled_after_s else None

    def readiness(self) -> str | None:
        return self._not_ready or self._stuck or self.liveness()


class HealthServer:
    """Serves `health` and `registry` from a daemon thread. `port` 0 takes a free one; `.port` tells which. Raises ConfigError."""

    def __init__(self, health: Health, registry: CollectorRegistry, host: str, port: int) -> None:
        try:
            self._server = _Server((host, port), _handler(health, registry))
        except OSError as error:
            raise ConfigError(
                f"CARTSTREAM_METRICS_HOST={host} CARTSTREAM_METRICS_PORT={port}: {error.strerror}; name a free port"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Who hangs up before the answer is out has no need of it; anything else is a defect of ours."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            logger().exception("the health server failed to answer", exc_info=error)


def _handler(health: Health, registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                case "/livez":
                    self._verdict(health.liveness())
                case "/readyz":
                    self._verdict(health.readiness())
                case _:
                    self._answer(404, b"try /metrics, /livez or /readyz\n")

        def _verdict(self, wrong: str | None) -> None:
            self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode())

        def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler

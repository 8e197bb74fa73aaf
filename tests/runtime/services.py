"""Services as they run: one process each, settings from the environment, health over HTTP."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.runtime.live import until

HASH_KEY = "h" * 32
VAULT_KEYS = "k1=" + base64.b64encode(b"v" * 32).decode()
SECRETS = {"hash_key": HASH_KEY, "vault_keys": VAULT_KEYS}


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment without its CARTSTREAM_ settings, and with these."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("CARTSTREAM_")}
    return kept | {f"CARTSTREAM_{name.upper()}": str(given) for name, given in settings.items()}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cartstream.cli", *words]


class Service:
    """A process of `cartstream run`. Its log is read as it comes."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.process = subprocess.Popen(
            command("run", name), env=environment(**settings), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.log: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def port(self) -> int:
        return int(until(lambda: [line["port"] for line in self.log if line.get("event") == "started"], "the start")[0])

    def get(self, path: str) -> tuple[int, str]:
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log[-3:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def ready(self) -> None:
        until(lambda: self.get("/readyz")[0] == 200, "readiness")

    def metric(self, line: str) -> float:
        """The value of the series that is written exactly so; 0 when there is none."""
        return sum(float(text.rpartition(" ")[2]) for text in self.get("/metrics")[1].splitlines() if text.rpartition(" ")[0] == line)

    def owns(self, count: int) -> None:
        service = "sessions" if "sessions" in self.process.args else "identity"  # type: ignore[operator]
        until(lambda: self.metric(f'cartstream_assigned_partitions{{service="{service}"}}') == count, f"{count} partitions")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            try:
                self.log.append(json.loads(text))
            except ValueError:
                self.log.append({"text": text})


@contextmanager
def service(name: str, **settings: Any) -> Iterator[Service]:
    """Killed at the end if the test has not stopped it."""
    started = Service(name, **settings)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.send_signal(signal.SIGCONT)
            started.process.kill()
            started.process.wait()

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cartstream.errors import ConfigError
from cartstream.up.launch import chosen, instances
from cartstream.up.processes import answers
from cartstream.up.services import SERVICES

WAIT_SECONDS = 60.0
COMMAND = [sys.executable, "-m", "cartstream.cli", "up", "--embedded"]


class Up:
    """A running `cartstream up`, and what it has written."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("wb") as target:
            self.process = subprocess.Popen([*COMMAND, *arguments], stderr=target)

    @property
    def text(self) -> str:
        return self._log.read_text()

    def services(self) -> dict[str, tuple[int, str]]:
        """Process id and address by name."""
        found = re.findall(r"^([\w-]+): process (\d+), (http://\S+)/metrics$", self.text, re.MULTILINE)
        return {name: (int(pid), url) for name, pid, url in found}

    def wait_ready(self, count: int) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(self.services()) < count or not all(answers(f"{url}/readyz") for _, url in self.services().values()):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)


@pytest.fixture
def ups() -> Iterator[list[Up]]:
    started: list[Up] = []
    yield started
    for up in started:
        if up.process.poll() is None:
            up.process.terminate()
            up.process.wait(WAIT_SECONDS)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_services_come_up_on_an_embedded_broker_and_stop_when_told(tmp_path: Path, ups: list[Up]) -> None:
    up = Up(tmp_path / "log", "--fakes", "--only", "identity,email", "--instances", "identity=2")
    ups.append(up)
    up.wait_ready(3)
    pids = [pid for pid, _ in up.services().values()]
    up.process.send_signal(signal.SIGINT)

    assert list(up.services()) == ["identity-1", "identity-2", "email"]
    assert up.process.wait(WAIT_SECONDS) == 0
    assert not any(map(alive, pids))


def test_products_come_up_beside_detection(tmp_path: Path, ups: list[Up], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTSTREAM_WATCH_PRODUCTS", "1")
    up = Up(tmp_path / "log", "--only", "detection,products")
    ups.append(up)
    up.wait_ready(2)
    up.process.send_signal(signal.SIGTERM)

    assert list(up.services()) == ["products", "detection"]
    assert up.process.wait(WAIT_SECONDS) == 0


def test_a_service_that_dies_is_named_and_takes_all_down(tmp_path: Path, ups: list[Up]) -> None:
    up = Up(tmp_path / "log", "--only", "sessions,detection")
    ups.append(up)
    up.wait_ready(2)
    services = up.services()
    os.kill(services["detection"][0], signal.SIGKILL)

    assert up.process.wait(WAIT_SECONDS) == 1
    assert "detection ended with exit code -9: stopping all" in up.text
    assert not alive(services["sessions"][0])


def test_a_wrong_setting_of_one_service_ends_all_with_its_reason(tmp_path: Path, ups: list[Up]) -> None:
    up = Up(tmp_path / "log", "--only", "detection,sms")
    ups.append(up)

    assert up.process.wait(WAIT_SECONDS) == 1
    assert "CARTSTREAM_TWILIO_SID is empty" in up.text
    assert "sms ended with exit code 2" in up.text


def test_unknown_services_and_odd_instance_counts_are_refused() -> None:
    done = subprocess.run([*COMMAND, "--only", "emial"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (2, "")
    assert "--only emial: say some of identity" in done.stderr
    for odd in ("email=2", "identity=0", "identity", "identity=x"):
        with pytest.raises(ConfigError, match="say NAME=N"):
            instances(["identity"], [odd])


def test_products_run_only_where_they_are_watched_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARTSTREAM_WATCH_PRODUCTS", raising=False)
    off, named = chosen(None), chosen("detection,products")
    monkeypatch.setenv("CARTSTREAM_WATCH_PRODUCTS", "true")

    assert (off, named) == ([*SERVICES], ["products", "detection"])
    assert sorted(chosen(None)) == sorted([*SERVICES, "products"])


def test_instances_are_numbered() -> None:
    assert instances(["identity", "email"], ["identity=2"]) == ["identity-1", "identity-2", "email"]

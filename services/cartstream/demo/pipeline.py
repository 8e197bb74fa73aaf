"""The demo's pipeline: embedded broker and Redis, fake providers, and every service as a process, tuned to the scaled clock."""

from __future__ import annotations

import importlib.resources
import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cartstream.demo.clock import DemoClock
from cartstream.demo.view import Picture
from cartstream.embedded.child import free_port
from cartstream.up.launch import SERVICES, start_fakes
from cartstream.up.processes import Processes, Say
from cartstream.up.surroundings import embedded, fake_providers, throwaway_secrets

Show = Callable[[Picture], None]

# An hour of event time lasts a second or two: what are real milliseconds in a service is set lower than where hours are hours.
TUNING = {
    "CARTSTREAM_ANNOUNCE_MS": "20",
    "CARTSTREAM_IDLE_MS": "50",
    "CARTSTREAM_POLL_MS": "10",
    "CARTSTREAM_SEND_FLUSH_MS": "20",
    "CARTSTREAM_PAST_LIMIT_DAYS": "3650",
    "CARTSTREAM_LOG_LEVEL": "warning",
    "CARTSTREAM_UNSUBSCRIBE_URL": "https://shop.example.test/unsubscribe?t=",
}
EXPIRY_REAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stagecraft:
    """How to run: `duration` real seconds of play, results into `out`, pictures to `show`, log lines to `say`, until `stopping()`."""

    duration: float
    out: Path
    show: Show
    say: Say
    stopping: Callable[[], bool]
    without: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """A pipeline that is up. `fakes` is the address of the fake providers' control API."""

    processes: Processes
    services: Sequence[str]
    brokers: str
    fakes: str

    def subscriptions(self, count: int) -> list[dict[str, Any]]:
        """Browsers' push subscriptions, minted by the fake push service."""
        request = urllib.request.Request(f"{self.fakes}/push/subscriptions?count={count}", method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            minted: list[dict[str, Any]] = json.load(response)
        return minted


@contextmanager
def pipeline(clock: DemoClock, idle_grace_ms: int, stage: Stagecraft) -> Iterator[Running]:
    """Everything started, not yet ready. Ends with the block, services first. Raises Unavailable."""
    with embedded() as surroundings:
        env = surroundings | throwaway_secrets() | fake_providers(free_port(), free_port()) | TUNING
        env |= {
            "CARTSTREAM_CLOCK": clock.setting,
            "CARTSTREAM_IDLE_GRACE_MS": str(idle_grace_ms),
            "CARTSTREAM_JOURNEYS": str(write_journeys(stage.out / "journeys.yaml", clock.speed)),
        }
        with Processes(env, stage.say) as processes:
            fakes = start_fakes(processes, env)
            services = [service for service in SERVICES if service not in stage.without]
            for service in services:
                processes.start(service)
            yield Running(processes, services, env["CARTSTREAM_BROKERS"], fakes)


def write_journeys(path: Path, speed: float) -> Path:
    """The default journeys, with messages that stay fresh for a minute of real time at least.

    A nudge is stale after 15 minutes, which at the demo's speed is less than a machine's hiccup.
    """
    journeys = yaml.safe_load(importlib.resources.files("cartstream.journeys").joinpath("default.yaml").read_text())
    for journey in journeys["journeys"]:
        for step in journey["steps"]:
            step["expires_after"] = f"{max(12, round(EXPIRY_REAL_SECONDS * speed / 3600))}h"
    path.write_text(yaml.safe_dump(journeys, sort_keys=False))
    return path

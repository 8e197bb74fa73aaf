"""What stands around the services: broker, Redis, providers, and the nursery that services come from.

A drill of servers brings a `Surroundings` of its own: `brokers` and `redis_url` are what services are told (a proxy, a cluster),
`direct` is where the drill itself reads and writes.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cartstream.demo.truth import Message
from cartstream.embedded import EmbeddedRedis
from cartstream.embedded.child import free_port
from cartstream.up.processes import answers
from cartstream.up.surroundings import fake_providers
from tests.drills.nursery import Nursery
from tests.support import RealKafka

SECRETS = {
    "CARTSTREAM_HASH_KEY": "drills-only-" * 3,
    "CARTSTREAM_VAULT_KEYS": "k1=" + "A" * 43 + "=",
    # A key for drills alone; any 32 bytes below the curve's order will do.
    "CARTSTREAM_VAPID_PRIVATE_KEY": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
}
_decode_messages = msgspec.json.Decoder(list[Message]).decode


class Providers:
    """The fake providers' control API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def reset(self) -> None:
        self._post("/reset")

    def fail(self, channel: str, mode: str, times: int = 1, **more: Any) -> None:
        """See `cartstream.fakes.failures.Failure`."""
        self._post("/fail", {"channel": channel, "mode": mode, "times": times, **more})

    def messages(self) -> list[Message]:
        """All since the last reset."""
        found: list[Message] = []
        while some := self._after(found[-1].n if found else 0):
            found += some
        return found

    def _after(self, number: int) -> list[Message]:
        with urllib.request.urlopen(f"{self.url}/messages?after={number}", timeout=10) as response:
            return _decode_messages(response.read())

    def _post(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        payload = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}{path}", payload, method="POST")
        with urllib.request.urlopen(request, timeout=10):
            return


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`servers` are whatever a drill needs to disturb them, by name; `env` is put over every service's environment."""

    brokers: str
    redis_url: str
    nursery: Nursery
    providers: Providers
    direct: str = ""
    replication: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bootstrap(self) -> str:
        """The brokers as the drill itself reaches them."""
        return self.direct or self.brokers


@contextmanager
def standing(kafka: RealKafka, out: Path) -> Iterator[Surroundings]:
    """Around a broker that runs already: a Redis as in production (AOF, fsync every second), providers, a nursery."""
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis(append_only=True))
        nursery = stack.enter_context(Nursery())
        providers, env = start_providers(nursery, out)
        yield Surroundings(kafka.address, redis.url, nursery, providers, env=env, servers={"kafka": kafka, "redis": redis})


@contextmanager
def usual(out: Path) -> Iterator[Surroundings]:
    """One broker and all the rest. Raises Missing."""
    with RealKafka() as kafka, standing(kafka, out) as surroundings:
        yield surroundings


def start_providers(nursery: Nursery, out: Path) -> tuple[Providers, dict[str, str]]:
    """The fake providers, listening, and the settings that lead senders to them. They end with the nursery."""
    env = fake_providers(free_port(), free_port())
    nursery.start(["fakes"], {**SECRETS, **env}, str(out / "fakes.log"))
    providers = Providers(env["CARTSTREAM_TWILIO_URL"])
    end = time.monotonic() + 30
    while not answers(f"{providers.url}/livez"):
        assert time.monotonic() < end, f"the fake providers do not answer: see {out / 'fakes.log'}"
        time.sleep(0.02)
    return providers, env

"""What services need around them, for a machine that has none of it: broker, Redis, secrets and providers, as settings."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from cartstream.embedded import EmbeddedBroker, EmbeddedRedis
from cartstream.embedded.child import HOST, free_port
from cartstream.events import topics
from cartstream.insights.settings import InsightsSettings
from cartstream.runtime.settings import load
from cartstream.senders.push.vapid import generate

PARTITIONS = 4
SESSION_TIMEOUT_MS = 10_000
# A group that gains a member after its first assignment waits for the session timeout: let all come first.
GATHER_MS = 3_000
ALONE_MS = 200


@contextmanager
def embedded(partitions: int = PARTITIONS, *, several_instances: bool = False) -> Iterator[dict[str, str]]:
    """A broker with all topics and a Redis, while the block lasts; gives the settings that lead there. Raises Unavailable."""
    wanted = dict.fromkeys(topics.ALL, partitions) | {topics.dead_letters(topic): 1 for topic in topics.ALL}
    wanted[load(InsightsSettings).changelog] = partitions
    delay_ms = GATHER_MS if several_instances else ALONE_MS
    with EmbeddedBroker(wanted, rebalance_delay_ms=delay_ms) as broker, EmbeddedRedis() as redis:
        yield {
            "CARTSTREAM_BROKERS": broker.address,
            "CARTSTREAM_REDIS_URL": redis.url,
            "CARTSTREAM_PARTITIONS": str(partitions),
            "CARTSTREAM_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
            "CARTSTREAM_INSIGHTS_PORT": str(free_port()),
            "CARTSTREAM_INSIGHTS_DECLARE_TOPICS": "false",
            "CARTSTREAM_INSIGHTS_CHECK_CRCS": "false",
        }


def throwaway_secrets() -> dict[str, str]:
    """Keys for whatever the environment names none for. What they hash and seal is lost with them."""
    made = {
        "CARTSTREAM_HASH_KEY": secrets.token_urlsafe(32),
        "CARTSTREAM_VAULT_KEYS": f"k1={base64.b64encode(os.urandom(32)).decode()}",
        "CARTSTREAM_VAPID_PRIVATE_KEY": generate()[0],
    }
    return {name: value for name, value in made.items() if not os.environ.get(name) and not os.environ.get(f"{name}_FILE")}


def fake_providers(smtp_port: int, http_port: int) -> dict[str, str]:
    """Settings for `cartstream fakes` on these ports, and for senders that send there."""
    http = f"http://{HOST}:{http_port}"
    return {
        "CARTSTREAM_FAKES_HOST": HOST,
        "CARTSTREAM_FAKES_SMTP_PORT": str(smtp_port),
        "CARTSTREAM_FAKES_HTTP_PORT": str(http_port),
        "CARTSTREAM_SMTP_HOST": HOST,
        "CARTSTREAM_SMTP_PORT": str(smtp_port),
        "CARTSTREAM_TWILIO_URL": http,
        "CARTSTREAM_TWILIO_SID": "AC" + "0" * 32,
        "CARTSTREAM_TWILIO_TOKEN": "fake",
        "CARTSTREAM_SMS_FROM": "+12025550100",
        "CARTSTREAM_SMS_STATUS_CALLBACK": f"{http}/callbacks/sms",
        "CARTSTREAM_PUSH_ALLOW_HTTP": "true",
        "CARTSTREAM_PUSH_ALLOW_PRIVATE": "true",
    }

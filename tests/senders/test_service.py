"""A sender's process: its settings, its health, and servers that are not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from cartstream.embedded.child import free_port
from cartstream.embedded.redis import EmbeddedRedis
from tests.senders.stage import HASH_KEY, VAULT_KEYS, Stage, command, until

_CODE = "import sys; from cartstream.senders.service import run; sys.exit(run(sys.argv[1]))"
_KEYS = {"CARTSTREAM_HASH_KEY": HASH_KEY, "CARTSTREAM_VAULT_KEYS": VAULT_KEYS}


@pytest.mark.parametrize(
    ("channel", "environment", "names"),
    [
        ("email", {}, "CARTSTREAM_VAULT_KEYS"),
        ("email", _KEYS | {"CARTSTREAM_HASH_KEY": "short"}, "CARTSTREAM_HASH_KEY"),
        ("email", _KEYS | {"CARTSTREAM_SMTP_PORT": "99999"}, "CARTSTREAM_SMTP_PORT"),
        ("email", _KEYS | {"CARTSTREAM_EMAIL_FROM": "nobody"}, "CARTSTREAM_EMAIL_FROM"),
        ("sms", _KEYS, "CARTSTREAM_TWILIO_SID"),
        ("push", _KEYS, "CARTSTREAM_VAPID_PRIVATE_KEY"),
        ("fax", _KEYS, "fax"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(channel: str, environment: dict[str, str], names: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _CODE, channel], capture_output=True, text=True, env=os.environ | environment, check=False, timeout=120
    )

    (line,) = (line for line in ended.stderr.splitlines() if not line.startswith("{"))
    assert ended.returncode == 2
    assert line.startswith("cartstream: ")
    assert names in line


def test_without_servers_a_sender_waits_and_says_so_and_still_ends_when_asked() -> None:
    port = free_port()
    environment = _KEYS | {
        "CARTSTREAM_BROKERS": f"127.0.0.1:{free_port()}",
        "CARTSTREAM_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "CARTSTREAM_METRICS_PORT": str(port),
        "CARTSTREAM_TRANSACTION_TIMEOUT_MS": "1000",
    }
    process = subprocess.Popen([sys.executable, "-c", _CODE, "email"], env=os.environ | environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        told: dict[str, str] = {}
        while {"kafka", "redis"} - told.keys():
            line = process.stderr.readline()
            if line.startswith("{"):
                said = json.loads(line)
                told |= {said["thing"]: said["why"]} if said["event"] == "not ready" else {}
        status = _status(f"http://127.0.0.1:{port}/readyz")
        alive = _status(f"http://127.0.0.1:{port}/livez")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    assert (status, alive) == (503, 200)
    assert "does not answer" in told["kafka"]


async def test_a_redis_that_goes_away_is_waited_for(stage: Stage) -> None:
    stage.create_topics("sms")
    port = free_port()
    with EmbeddedRedis(port=port) as redis:
        async with stage.sending("sms", redis_url=redis.url):
            await until(lambda: stage.health.readiness() is None)
            redis.__exit__(None, None, None)
            stage.order(command("sms"))
            await until(lambda: "redis" in (stage.health.readiness() or ""))
            with EmbeddedRedis(port=port):
                (delivery,) = await stage.deliveries()
                await until(lambda: stage.health.readiness() is None)

    assert (delivery.status, delivery.reason) == ("unreachable", "no_contact")


async def test_metrics_tell_what_became_of_commands(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.order(command("sms", 1), command("sms", 2, "nobody"))

    async with stage.sending("sms"):
        await stage.deliveries(2)
        sent = {"channel": "sms", "status": "accepted", "reason": ""}
        lost = {"channel": "sms", "status": "unreachable", "reason": "no_contact"}
        assert stage.registry.get_sample_value("cartstream_sends_total", sent) == 1
        assert stage.registry.get_sample_value("cartstream_sends_total", lost) == 1
        assert stage.registry.get_sample_value("cartstream_send_duration_seconds_count", {"channel": "sms"}) == 1


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code

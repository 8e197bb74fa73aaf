"""Wrong settings: exit code 2 and one clear line that names the variable. Servers that are not there: a line, and patience."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.live import until
from tests.runtime.services import SECRETS, command, environment, service


def run(name: str, **settings: Any) -> tuple[int, list[str]]:
    done = subprocess.run(command("run", name), env=environment(**settings), capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "settings", "variable"),
    [
        ("sessions", {"partitions": "many"}, "CARTSTREAM_PARTITIONS"),
        ("sessions", {"session_gap_s": 0}, "CARTSTREAM_SESSION_GAP_S"),
        ("sessions", {"clock": "sundial"}, "CARTSTREAM_CLOCK"),
        ("sessions", {"log_level": "loud"}, "CARTSTREAM_LOG_LEVEL"),
        ("sessions", {"log_format": "poem"}, "CARTSTREAM_LOG_FORMAT"),
        ("sessions", {"redis_url": "not a url"}, "CARTSTREAM_REDIS_URL"),
        ("sessions", {"metrics_host": "no.such.host.invalid"}, "CARTSTREAM_METRICS_HOST"),
        ("identity", {}, "CARTSTREAM_VAULT_KEYS"),
        ("identity", {**SECRETS, "vault_keys": "k1=short"}, "CARTSTREAM_VAULT_KEYS"),
        ("identity", {**SECRETS, "hash_key": "short"}, "CARTSTREAM_HASH_KEY"),
        ("identity", {**SECRETS, "hash_key_file": "/nowhere/key"}, "CARTSTREAM_HASH_KEY_FILE"),
        ("identity", {**SECRETS, "consent_categories": "{"}, "CARTSTREAM_CONSENT_CATEGORIES"),
        ("identity", {**SECRETS, "consent_categories": '{"Advertising": "email"}'}, "CARTSTREAM_CONSENT_CATEGORIES"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_variable(name: str, settings: dict[str, Any], variable: str) -> None:
    code, lines = run(name, **settings)

    assert code == 2, lines
    assert len(lines) == 1, lines
    assert variable in lines[0]
    assert SECRETS["hash_key"] not in lines[0]


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, lines = run("sessions", metrics_port=taken.getsockname()[1])
    assert (code, len(lines)) == (2, 1)
    assert "CARTSTREAM_METRICS_PORT" in lines[0]


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("too short\n")
    code, lines = run("identity", vault_keys=SECRETS["vault_keys"], hash_key_file=tmp_path / "key")
    assert (code, len(lines)) == (2, 1)
    assert "CARTSTREAM_HASH_KEY needs 32 characters" in lines[0]


def test_without_servers_a_service_says_what_is_missing_keeps_trying_and_stops_when_told() -> None:
    with service("identity", brokers="127.0.0.1:1", redis_url="redis://127.0.0.1:1/0", **SECRETS) as waiting:
        until(lambda: waiting.get("/readyz")[1] != "starting\n", "a reason")
        status, why = waiting.get("/readyz")
        assert status == 503
        assert "Kafka" in why or "Redis" in why
        until(lambda: sum(line.get("event") == "waiting" for line in waiting.log) >= 2, "another try")
        assert waiting.get("/livez")[0] == 200
        assert waiting.stop() == 0
    assert all("text" not in line or "FAIL" in line["text"] for line in waiting.log), waiting.log

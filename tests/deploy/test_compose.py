from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from cartstream.detection.settings import DetectionSettings
from cartstream.fakes.settings import FakesSettings
from cartstream.insights.settings import InsightsSettings
from cartstream.senders.settings import EmailSettings, PushSettings, SmsSettings
from cartstream.up.services import OPTIONAL, SERVICES
from tests.deploy.queries import DEPLOY, ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()


def test_every_service_and_what_it_needs_is_there() -> None:
    assert set(COMPOSE["services"]) == {*SERVICES, *OPTIONAL, "kafka", "redis", "topics", "fakes", "prometheus", "grafana"}


def test_what_keeps_running_has_a_health_check() -> None:
    without = {name for name, service in COMPOSE["services"].items() if "healthcheck" not in service}

    assert without == {"topics"}


@pytest.mark.parametrize("name", [name for name, service in COMPOSE["services"].items() if "healthcheck" in service])
def test_no_word_of_a_health_check_holds_a_blank(name: str) -> None:
    """Podman's Docker interface splits words at blanks, and what is left may pass without checking anything."""
    kind, *words = COMPOSE["services"][name]["healthcheck"]["test"]

    assert kind == "CMD"
    assert not [word for word in words if " " in word]


def test_services_wait_for_topics_and_redis_and_senders_for_the_fakes() -> None:
    for name in (*SERVICES, *OPTIONAL):
        waits = COMPOSE["services"][name]["depends_on"]
        assert waits["topics"]["condition"] == "service_completed_successfully"
        assert waits["redis"]["condition"] == "service_healthy"
        assert ("fakes" in waits) == (name in ("email", "sms", "push"))


def test_every_image_can_be_replaced() -> None:
    images = {service["image"] for service in COMPOSE["services"].values()}

    assert {re.match(r"\$\{(\w+):-[^}]+\}$", image)[1] for image in images} == {  # type: ignore[index]
        "CARTSTREAM_IMAGE",
        "KAFKA_IMAGE",
        "REDIS_IMAGE",
        "PROMETHEUS_IMAGE",
        "GRAFANA_IMAGE",
    }
    assert "ARG PYTHON_IMAGE=" in DOCKERFILE


def test_every_variable_is_a_setting() -> None:
    kinds = (EmailSettings, SmsSettings, PushSettings, InsightsSettings, FakesSettings, DetectionSettings)
    known = {f"CARTSTREAM_{field.upper()}" for kind in kinds for field in kind.model_fields}
    used = {name for service in COMPOSE["services"].values() for name in service.get("environment", {}) if name.startswith("CARTSTREAM_")}

    assert used <= known
    assert set(re.findall(r"CARTSTREAM_\w+(?==)", DOCKERFILE)) <= known


def test_the_secrets_are_in_no_commit_and_no_image() -> None:
    ignored = (DEPLOY / ".gitignore").read_text().split()
    sent = (ROOT / ".dockerignore").read_text().split()

    assert all(
        service["env_file"] == [{"path": "deploy/secrets.env", "required": True}]
        for service in map(COMPOSE["services"].get, (*SERVICES, *OPTIONAL))
    )
    assert "secrets.env" in ignored
    assert sent[0] == "*"
    assert not [line for line in sent if "secrets" in line or line == "!deploy"]


def test_the_image_runs_without_root_and_installs_only_what_the_locks_hash() -> None:
    assert re.search(r"^USER (?!0|root)", DOCKERFILE, re.MULTILINE)
    installs = [line for line in DOCKERFILE.split("\n") if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_the_build_backend_is_the_one_of_the_development_lock() -> None:
    entries = _pins(DEPLOY / "docker" / "build.lock")

    assert entries
    assert entries.items() <= _pins(ROOT / "requirements-dev.lock").items()


@pytest.mark.parametrize(("switch", "processes"), [({}, 0), ({"CARTSTREAM_WATCH_PRODUCTS": "1"}, 1)])
def test_one_switch_turns_products_on_in_their_service_and_in_detection(switch: dict[str, str], processes: int, tmp_path: Path) -> None:
    services = _as_composed(tmp_path, switch)["services"]
    given = services["detection"]["environment"]["CARTSTREAM_WATCH_PRODUCTS"]

    assert services["products"]["scale"] == processes
    assert TypeAdapter(bool).validate_python(given) is bool(processes)
    assert {service["scale"] for name, service in services.items() if name != "products" and "scale" in service} == set()


def _as_composed(folder: Path, switch: dict[str, str]) -> dict[str, Any]:
    """The file as a Compose client reads it, with these variables and no others of ours."""
    client = _compose_client()
    (folder / "deploy").mkdir()
    (folder / "deploy" / "secrets.env").write_text("CARTSTREAM_HASH_KEY=x\n")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARTSTREAM_")}
    done = subprocess.run(
        [*client, "config", "--format", "json"], cwd=folder, env=kept | switch, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    composed: dict[str, Any] = json.loads(done.stdout)
    return composed


def _compose_client() -> list[str]:
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) and subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0:
            return words
    pytest.skip("no Compose client here: neither docker compose nor docker-compose answers")


def _pins(lock: Path) -> dict[str, str]:
    """name==version → its hashes and marker, as written."""
    return {entry.partition(" ")[0]: entry for entry in re.split(r"\n(?=\S)", lock.read_text().strip())}

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.deploy.queries import ALERTS, DEPLOY, ROOT

HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here: it comes with Prometheus")
    done = subprocess.run([program, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_configuration() -> None:
    promtool("check", "config", "prometheus.yml")


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", "alerts.yml")


@pytest.mark.parametrize("cases", ["alerts.test.yml", "alerts.week.test.yml"])
def test_the_alerts_fire_when_they_should_and_only_then(cases: str) -> None:
    promtool("test", "rules", cases)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_has_a_runbook_with_its_four_headings(rule: dict[str, dict[str, str]]) -> None:
    anchor = rule["annotations"]["runbook_url"].partition("#")[2]
    sections = re.split(r"^### ", (ROOT / "docs" / "operations.md").read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.partition("\n")[0].strip().lower() == anchor]

    assert anchor == str(rule["alert"]).lower()
    assert rule["labels"]["severity"] in ("page", "ticket")
    for heading in HEADINGS:
        assert f"**{heading}**" in section

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from cartstream.up.services import OPTIONAL, SERVICES
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


def test_prometheus_looks_up_every_service() -> None:
    (job, _) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (lookup,) = job["dns_sd_configs"]

    assert sorted(lookup["names"]) == sorted((*SERVICES, *OPTIONAL))


def test_every_service_that_always_runs_is_missed_when_it_is_not_there() -> None:
    (down,) = [rule["expr"] for rule in RULES if rule["alert"] == "CartstreamTargetDown"]

    assert set(re.findall(r'absent\(up\{job="cartstream", component="(\w+)"\}\)', down)) == set(SERVICES)
    assert set(re.findall(r'last_over_time\(up\{job="cartstream", component="(\w+)"\}', down)) == set(OPTIONAL)


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

"""The queries of the dashboard and the alerts, and the metrics that they may name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from cartstream.insights.metrics import InsightsMetrics
from cartstream.runtime.metrics import SenderMetrics, StageMetrics, new_registry

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "cartstream.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

# Of Prometheus itself, and of prometheus-client's collectors, which exist only on Linux.
GIVEN = frozenset({"up", "ALERTS", "process_resident_memory_bytes", "process_cpu_seconds_total"})

_METRIC = re.compile(r"\b(?:cartstream_\w+|process_\w+|up|ALERTS)\b(?=[\[{\s)]|$)")


def dashboard_queries() -> list[tuple[str, str]]:
    """(panel, query) pairs, with Grafana's interval filled in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"].replace("$__rate_interval", "1m")) for panel in panels for target in panel.get("targets", [])]


def alert_queries() -> list[tuple[str, str]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def metrics_in(query: str) -> set[str]:
    """The names in a query, without the endings of a histogram's series."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in _METRIC.findall(query)}


def declared() -> dict[str, tuple[str, ...]]:
    """Each metric that a service declares, as it is exposed, and its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for registry in _registries():
        for collector, names in registry._collector_to_names.items():
            labels = tuple(getattr(collector, "_labelnames", ()))
            found |= dict.fromkeys(names, labels)
    return found


def _registries() -> list[CollectorRegistry]:
    stage, sender, insights = (new_registry(name, "0") for name in ("sessions", "email", "insights"))
    StageMetrics("sessions", stage)
    SenderMetrics("email", sender)
    StageMetrics("insights", insights)
    InsightsMetrics(insights)
    return [stage, sender, insights]

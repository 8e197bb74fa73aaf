"""The metrics that only insights has. What it shares with the other services is in `runtime.metrics`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from cartstream.insights.report import Figures
from cartstream.insights.tally import Measure


class InsightsMetrics:
    """Counters grow with what this process counts; the rates are those of `GET /insights`, over the whole retention."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.signals = Counter("cartstream_insights_signals_total", "Signals counted", ("kind",), registry=registry).labels
        self.commands = Counter(
            "cartstream_insights_commands_total", "Commands counted", ("channel", "journey", "step"), registry=registry
        ).labels
        self.deliveries = Counter(
            "cartstream_insights_deliveries_total", "Deliveries counted", ("channel", "journey", "status"), registry=registry
        ).labels
        self.rate = Gauge(
            "cartstream_insights_delivery_ratio",
            "Deliveries of a status per command, over the retention",
            ("channel", "journey", "status"),
            registry=registry,
        ).labels
        self.rows = Gauge("cartstream_insights_rows", "Rows of the table: hours by measures by partitions", registry=registry)

    def counted(self, measure: Measure) -> None:
        kind, *labels = measure
        {"signal": self.signals, "command": self.commands, "delivery": self.deliveries}[kind](*labels).inc()

    def totals(self, figures: Figures, rows: int) -> None:
        self.rows.set(rows)
        for channel, whole in figures.channels.items():
            for journey, part in whole.journeys.items():
                for status, ratio in part.rates.items():
                    self.rate(channel, journey, status).set(ratio)

"""The end of a run: `summary.json` for machines, a table for people, and `findings.json` that names what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from cartstream.demo.run import Result
from cartstream.demo.truth import Verdict, percentile


@dataclass(frozen=True, slots=True)
class Summary:
    """`truth` is False where nobody knows what had to come: then expected, missed and wrong are null. `file` is an extra key."""

    result: Result
    verdict: Verdict
    funnel: Mapping[tuple[str, str], int]
    truth: bool = True
    file: dict[str, Any] | None = None

    def figures(self) -> dict[str, Any]:
        result, verdict = self.result, self.verdict
        found: dict[str, Any] = {
            "seconds": round(result.seconds, 1),
            "events": result.events,
            "stages": {name: {"in": stage.received, "out": stage.sent, "dlq": stage.dlq} for name, stage in result.stages.items()},
            "latency_ms": {"p50": percentile(verdict.latencies_ms, 0.5), "p99": percentile(verdict.latencies_ms, 0.99)},
            "messages": result.counts,
            "expected": verdict.expected if self.truth else None,
            "missed": len(verdict.missed) if self.truth else None,
            "wrong": len(verdict.wrong) if self.truth else None,
            "sent_twice": len(verdict.sent_twice),
            "sent_after_purchase": len(verdict.sent_after_purchase),
        }
        return found | ({"file": self.file} if self.file is not None else {})

    def write(self, out: Path) -> None:
        """`summary.json`, and `findings.json` with every message that the verdict speaks of."""
        (out / "summary.json").write_bytes(orjson.dumps(self.figures(), option=orjson.OPT_INDENT_2) + b"\n")
        findings = {
            "missed": [promise._asdict() for promise in self.verdict.missed],
            **{
                name: [msgspec.to_builtins(message) for message in getattr(self.verdict, name)]
                for name in ("wrong", "sent_twice", "sent_after_purchase")
            },
            "funnel": {f"{level} {kind}": count for (level, kind), count in sorted(self.funnel.items())},
            "player_latest_ms": round(self.result.latest_ms),
        }
        (out / "findings.json").write_bytes(orjson.dumps(findings, option=orjson.OPT_INDENT_2) + b"\n")

    def print(self, console: Console) -> None:
        figures = self.figures()
        stages = Table("service", *(_right(name) for name in ("in", "out", "dlq")), title="stages")
        for name, stage in figures["stages"].items():
            stages.add_row(name, *(f"{stage[key]:,}" for key in ("in", "out", "dlq")))
        console.print(stages)
        facts = Table(show_header=False, title=f"{figures['events']:,} events in {figures['seconds']} s")
        facts.add_column()
        facts.add_column(justify="right")
        for channel, count in figures["messages"].items():
            facts.add_row(channel, f"{count:,}")
        for name in ("p50", "p99"):
            value = figures["latency_ms"][name]
            facts.add_row(f"exit signal to provider, {name}", "–" if value is None else f"{value:.0f} ms")
        for name in ("expected", "missed", "wrong", "sent_twice", "sent_after_purchase"):
            facts.add_row(name.replace("_", " "), "–" if figures[name] is None else f"{figures[name]:,}")
        for name, value in (self.file or {}).items():
            facts.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
        console.print(facts)


def _right(name: str) -> Any:
    from rich.table import Column

    return Column(name, justify="right")

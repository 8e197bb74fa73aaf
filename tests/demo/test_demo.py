"""The whole pipeline, as a new user sees it: every service a process, nothing given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SECONDS = 30
SHOPPERS = 250


def test_a_short_demo_sends_every_message_once_and_none_after_the_purchase(tmp_path: Path) -> None:
    arguments = ["demo", "--plain", "--duration", str(SECONDS), "--shoppers", str(SHOPPERS), "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "cartstream.cli", *arguments], capture_output=True, text=True, timeout=120)
    summary = json.loads((tmp_path / "summary.json").read_text()) if (tmp_path / "summary.json").exists() else done.stderr
    findings = (tmp_path / "findings.json").read_text() if (tmp_path / "findings.json").exists() else ""

    assert done.returncode == 0, (summary, findings, done.stderr)
    assert isinstance(summary, dict)
    assert [summary[name] for name in ("missed", "wrong", "sent_twice", "sent_after_purchase")] == [0, 0, 0, 0]
    assert summary["expected"] == sum(summary["messages"].values()) > 50
    assert all(summary["stages"][name]["in"] > 0 for name in ("identity", "sessions", "detection", "journeys", "email", "sms", "push"))
    assert summary["stages"]["identity"]["dlq"] == 3
    assert list(summary) == [
        "seconds",
        "events",
        "stages",
        "latency_ms",
        "messages",
        "expected",
        "missed",
        "wrong",
        "sent_twice",
        "sent_after_purchase",
    ]
    assert "example.test" not in done.stdout

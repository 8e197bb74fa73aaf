"""The whole pipeline, as a new user sees it: every service a process, nothing given."""

from __future__ import annotations

import json

from tests.demo.conftest import Demo


def test_a_short_demo_sends_every_message_once_and_none_after_the_purchase(short_demo: Demo) -> None:
    code, stdout, stderr = short_demo.ended()
    out = short_demo.out
    summary = json.loads((out / "summary.json").read_text()) if (out / "summary.json").exists() else stderr
    findings = (out / "findings.json").read_text() if (out / "findings.json").exists() else ""

    assert code == 0, (summary, findings, stderr)
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
    assert "example.test" not in stdout

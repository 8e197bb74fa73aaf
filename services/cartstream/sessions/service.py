"""`cartstream run sessions`."""

from __future__ import annotations

from cartstream.runtime.service import run_stage
from cartstream.runtime.settings import load
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.stage import SessionsStage


def run() -> int:
    settings = load(SessionsSettings)
    return run_stage("sessions", settings, lambda _: SessionsStage(settings))

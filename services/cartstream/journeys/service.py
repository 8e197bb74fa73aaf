"""`cartstream run journeys`."""

from __future__ import annotations

from cartstream.journeys.loading import load_journeys
from cartstream.journeys.settings import JourneysSettings
from cartstream.journeys.stage import JourneysStage
from cartstream.runtime.service import run_stage
from cartstream.runtime.settings import load


def run() -> int:
    settings = load(JourneysSettings)
    journeys = load_journeys(settings.journeys or None)
    return run_stage("journeys", settings, lambda _: JourneysStage(settings, journeys))

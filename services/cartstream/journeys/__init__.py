"""Journeys: who gets which message, when, on which channel, and why not."""

from cartstream.journeys.definition import Journeys
from cartstream.journeys.loading import load_journeys
from cartstream.journeys.settings import JourneysSettings
from cartstream.journeys.stage import JourneysStage

__all__ = ["Journeys", "JourneysSettings", "JourneysStage", "load_journeys"]

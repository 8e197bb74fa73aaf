"""`cartstream run detection`."""

from __future__ import annotations

from cartstream.detection.settings import DetectionSettings
from cartstream.detection.stage import DetectionStage
from cartstream.runtime.service import run_stage
from cartstream.runtime.settings import load


def run() -> int:
    settings = load(DetectionSettings)
    return run_stage("detection", settings, lambda _: DetectionStage(settings))

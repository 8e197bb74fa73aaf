"""Detection: who is about to leave, who left something behind, and who came back for it."""

from cartstream.detection.settings import DetectionSettings
from cartstream.detection.stage import DetectionStage

__all__ = ["DetectionSettings", "DetectionStage"]

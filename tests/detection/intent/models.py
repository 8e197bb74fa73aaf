"""A small model whose every figure can be worked out by hand."""

from __future__ import annotations

from cartstream.detection.intent.model import FORMAT, Axis, IntentModel, Term
from cartstream.detection.intent.report import Bin, Report

REPORT = Report("by hand", 10, 8, 2, 0, 0.7, 0.0, [0.7, 0.7], 0.65, 0.0, 0.1, [Bin(5, 0.7, 0.6), Bin(5, 0.9, 1.0)], 0.5, 1.0, 0.6)
MINUTES = Axis("session_minutes", edges=[1.0, 5.0])
TRIGGER = Axis("trigger", values=["back_press", "idle"])


def by_hand(threshold: float = 0.5, trigger: str = "trigger") -> IntentModel:
    """Minutes: unknown 0, below 1 is 0.5, below 5 is -0.25, else -1. Going back after 5 minutes or more: 2 more."""
    axes = [MINUTES, Axis(trigger, values=TRIGGER.values)]
    table = [0.0] * 12
    table[1 * 4 + 3] = 2.0
    terms = [Term(["session_minutes"], [0.0, 0.5, -0.25, -1.0]), Term([trigger, "session_minutes"], table)]
    return IntentModel(FORMAT, axes, 0.125, terms, threshold, REPORT)

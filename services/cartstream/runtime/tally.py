"""What one batch did, counted for the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from cartstream.events.times import EventTime
from cartstream.runtime.watermarks import UNKNOWN


@dataclass(slots=True)
class Tally:
    """`found` has the stage's own outcomes by (kind, detail), `refused` the dead letters by reason."""

    consumed: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    found: dict[tuple[str, str], int] = field(default_factory=dict)
    fired: int = 0
    latest_fire: EventTime = UNKNOWN
    newest: EventTime = UNKNOWN

    def count(self, outcome: str, n: int = 1) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + n

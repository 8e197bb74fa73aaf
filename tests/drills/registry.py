"""All drills, by name."""

from __future__ import annotations

from tests.drills.drill import Drill
from tests.drills.kill import KILL

DRILLS: dict[str, Drill] = {drill.name: drill for drill in (KILL,)}

"""Settings of the journeys service."""

from __future__ import annotations

from pydantic import Field

from cartstream.events.times import DAY
from cartstream.runtime.settings import StageSettings


class JourneysSettings(StageSettings):
    journeys: str = Field("", description="YAML file of the journeys; empty takes those of the package")
    journeys_keep_days: int = Field(
        90,
        ge=31,
        description="event time after which a silent customer's consent, caps and history go; as state_ttl_days, since either ends them",
    )

    @property
    def keep_ms(self) -> int:
        return self.journeys_keep_days * DAY

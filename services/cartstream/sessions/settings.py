"""Settings of the sessions service."""

from __future__ import annotations

from pydantic import Field

from cartstream.runtime.settings import StageSettings


class SessionsSettings(StageSettings):
    session_gap_s: int = Field(
        1_800,
        ge=1,
        description="longer silence of a device ends its session; exactly this long does not (Snowplow, GA: 30 min)",
    )
    session_limit_s: int = Field(86_400, ge=60, description="a session is never longer, so that a bot cannot keep one open for ever")
    keep_idle_days: int = Field(
        30,
        ge=1,
        description="event time after which a silent customer's sessions state goes; longer than any message waits: senders look at it",
    )

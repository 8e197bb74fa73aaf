"""Settings of the fake providers."""

from __future__ import annotations

from pydantic import Field

from cartstream.runtime.settings import Settings


class FakesSettings(Settings):
    fakes_host: str = Field("127.0.0.1", description="address that the fake providers listen on")
    fakes_smtp_port: int = Field(0, ge=0, le=65_535, description="port of the SMTP server; 0 takes a free one")
    fakes_http_port: int = Field(0, ge=0, le=65_535, description="port of the SMS, push and control APIs; 0 takes a free one")
    fakes_keep: int = Field(200_000, ge=1, description="messages kept, of all channels; older ones are only counted")

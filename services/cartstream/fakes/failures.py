"""How a fake provider is told to fail: the next so many requests of a channel, or those to one recipient."""

from __future__ import annotations

import asyncio

import msgspec

from cartstream.errors import Refused
from cartstream.events.topics import CHANNELS

MODES = ("timeout", "reset", "accept_then_timeout", "accept_then_reset")


class Failure(msgspec.Struct):
    """`mode` is a status code (SMTP reply or HTTP status) or one of `MODES`; `times` 0 is until the reset.

    `code` is the provider's own error code (Twilio), `to` limits it to one recipient, `retry_after` is in seconds.
    """

    channel: str
    mode: str
    times: int = 1
    retry_after: float | None = None
    code: int | None = None
    to: str | None = None
    text: str = "told to fail"

    @property
    def status(self) -> int | None:
        return int(self.mode) if self.mode.isdigit() else None

    @property
    def accepts(self) -> bool:
        return self.mode.startswith("accept_")


class Failures:
    """What to do with the next request."""

    def __init__(self) -> None:
        self._planned: list[Failure] = []
        self._released = asyncio.Event()

    def plan(self, failure: Failure) -> None:
        """Raises Refused (`bad_failure`)."""
        if failure.channel not in CHANNELS:
            raise Refused("bad_failure", f"channel {failure.channel!r}: say one of {', '.join(CHANNELS)}")
        if failure.mode not in MODES and not (failure.mode.isdigit() and 400 <= int(failure.mode) <= 599):
            raise Refused("bad_failure", f"mode {failure.mode!r}: say a status from 400 to 599, or one of {', '.join(MODES)}")
        self._planned.append(failure)

    def next(self, channel: str, to: str) -> Failure | None:
        for failure in self._planned:
            if failure.channel == channel and failure.to in (None, to):
                if failure.times:
                    failure.times -= 1
                    if not failure.times:
                        self._planned.remove(failure)
                return failure
        return None

    async def hang(self) -> None:
        """Until the next `clear`."""
        await self._released.wait()

    def clear(self) -> None:
        self._planned.clear()
        self._released.set()
        self._released = asyncio.Event()

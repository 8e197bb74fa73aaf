"""What a channel is to the common part: an address, a message, its cost, one provider call."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from cartstream.events.records import Command
from cartstream.senders.outcomes import Answer


class Letter(msgspec.Struct, frozen=True):
    """A rendered message on its way. `address` is plain text: never log it. `ttl_s` is the time it has left, in the clock's seconds."""

    command: Command
    customer_id: str
    address: str
    locale: str | None
    ttl_s: int


class Channel(Protocol):
    """One provider. `at_least_once` says what a lost answer leads to: the call again, or a delivery that is `ambiguous`."""

    name: str
    at_least_once: bool
    in_flight: int
    """Calls that make sense at the same time."""
    rate: float
    """Units a second over all processes; 0 is no limit."""

    async def open(self) -> None:
        """Raises ConfigError. Does not connect."""

    async def close(self) -> None: ...

    def render(self, letter: Letter) -> Any:
        """What `send` takes. Pure. Raises Refused if the template cannot be filled or the address is none."""

    def cost(self, message: Any) -> int:
        """In the provider's unit."""

    async def send(self, message: Any) -> Answer:
        """One call. Provider and network failures are answers; AMBIGUOUS only if the request may have been taken."""

"""The ledger: what is known of each command, in Redis, written before the provider is called and after.

`{ledger:<channel>}:<command_id>` holds a msgpack `Entry`. Every change is a compare-and-set on the whole value, so of two
processes that meet the same command one wins and the other learns what the winner wrote.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis

from cartstream.errors import Refused
from cartstream.events.times import EventTime
from cartstream.senders.coalesce import Coalescer

# An entry that should be there and is not was lost by Redis: nobody else has changed it.
# ARGV: expected and wanted of each key, then all expiries in one, each with ! (force) or ?: the client's time goes by the argument.
_SWAP = """
local answers, i = {}, 0
for ttl, force in string.gmatch(ARGV[#ARGV], '(%d+)([!?])') do
  i = i + 1
  local expected, wanted, found = ARGV[2*i-1], ARGV[2*i], redis.call('GET', KEYS[i])
  if force == '!' or not found or found == wanted or found == expected then
    redis.call('SET', KEYS[i], wanted, 'EX', ttl)
    found = wanted
  end
  answers[i] = found or ''
end
return answers
"""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """`intent`: a call was about to be made at `written_at` (real ms). `open`: surely no call is under way. `final`: over.

    `unsure`: a lost answer lies behind it, so the message may be out already. `token` makes each writer's value unique.
    """

    state: Literal["intent", "open", "final"]
    token: str
    written_at: int
    attempts: int = 0
    unsure: bool = False
    at: EventTime = 0
    status: str = ""
    reason: str | None = None
    provider_id: str | None = None


class Swap(msgspec.Struct, frozen=True):
    """Put `entry` if the stored value is still `expected` (None: nothing stored). `force` puts it whatever is stored."""

    command_id: str
    expected: bytes | None
    entry: Entry
    ttl_s: int
    force: bool = False


class Found(NamedTuple):
    """A stored value as it stands, for the next compare-and-set, and what it says."""

    raw: bytes | None
    entry: Entry | None

    @classmethod
    def of(cls, raw: bytes | None) -> Found:
        """Raises Refused (`unreadable_ledger`)."""
        try:
            return cls(raw, _decode(raw) if raw else None)
        except msgspec.MsgspecError as error:
            raise Refused("unreadable_ledger", "the ledger's entry of this command is none of ours") from error

    @property
    def unsure(self) -> bool:
        """A message of an earlier call may be out."""
        return self.entry is not None and (self.entry.unsure or self.entry.state == "intent")

    @property
    def attempts(self) -> int:
        return self.entry.attempts if self.entry else 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Ledger:
    def __init__(self, redis: Redis, prefix: str, channel: str) -> None:
        self._prefix = f"{prefix}{{ledger:{channel}}}:"
        self._script: Any = redis.register_script(_SWAP)
        self._swaps: Coalescer[tuple[Swap, bytes], bytes] = Coalescer(self._swap_all)

    def key(self, command_id: str) -> str:
        return self._prefix + command_id

    def dead_key(self, customer_id: str) -> str:
        """Which address of a customer no longer takes messages. In the ledger's slot, to be read with it."""
        return f"{self._prefix}dead:{customer_id}"

    async def swap(self, swap: Swap) -> Found | None:
        """What was put, or None: somebody else changed the entry. A repeat after a lost answer succeeds."""
        wanted = _encode(swap.entry)
        return Found(wanted, swap.entry) if await self._swaps((swap, wanted)) == wanted else None

    async def _swap_all(self, swaps: Sequence[tuple[Swap, bytes]]) -> Sequence[bytes]:
        arguments: list[bytes | str] = []
        for swap, wanted in swaps:
            arguments += (swap.expected or b"", wanted)
        arguments.append("".join([f"{swap.ttl_s}{'!' if swap.force else '?'}" for swap, _ in swaps]))
        answers: list[bytes] = await self._script(keys=[self._prefix + swap.command_id for swap, _ in swaps], args=arguments)
        return answers


def real_ms() -> int:
    """Ages of intents are real time: a provider's answer takes as long as it takes, whatever the clock says."""
    return time.time_ns() // 1_000_000

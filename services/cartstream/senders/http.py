"""HTTP calls over kept connections: the little of a client that a sender needs, at a third of a general client's cost.

Requests come as bytes, so what never changes of them is made once. An error says whether the request can have been taken.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import aiohappyeyeballs
from aiohttp.abc import AbstractResolver

from cartstream.errors import CartstreamError
from cartstream.senders.http_line import HttpLine, Reply

_IDLE_S = 15.0
_RESOLVED_S = 10.0
_NEXT_ADDRESS_S = 0.25


class Unsent(CartstreamError):
    """Not a byte of the request was written: the name, the connection or TLS failed. The message names what."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where connections go. `host` is a name or a literal address without brackets."""

    host: str
    port: int
    tls: bool

    @property
    def netloc(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class HttpPool:
    """`most` bounds the connections that wait for work; those at work are as many as there are callers. One event loop.

    A call takes `timeout_s` at most, connecting included.
    """

    def __init__(self, resolver: AbstractResolver, most: int, timeout_s: float) -> None:
        self._resolver, self._most, self._timeout_s = resolver, most, timeout_s
        self._idle: dict[Place, deque[HttpLine]] = {}
        self._waiting = 0
        self._busy: set[HttpLine] = set()
        self._known: dict[Place, tuple[float, list[aiohappyeyeballs.AddrInfoType]]] = {}
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    async def call(self, place: Place, request: bytes) -> Reply:
        """One request, one whole answer. Raises Unsent and Unanswered. Redirects are answers."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout_s
        line = self._idle_line(place) or await self._connected(place)
        self._busy.add(line)
        try:
            return await line.ask(request, until - loop.time())
        finally:
            self._busy.discard(line)
            self._put_back(place, line)

    async def close(self) -> None:
        """Calls under way fail with Unanswered."""
        for line in [*self._busy, *(line for lines in self._idle.values() for line in lines)]:
            line.close()
        self._idle.clear()
        await self._resolver.close()

    def _idle_line(self, place: Place) -> HttpLine | None:
        """The one used last, as it is the likeliest to be alive."""
        lines = self._idle.get(place)
        while lines:
            line = lines.pop()
            self._waiting -= 1
            if not lines:
                del self._idle[place]
            if line.usable and time.monotonic() - line.idle_since < _IDLE_S:
                return line
            line.close()
        return None

    def _put_back(self, place: Place, line: HttpLine) -> None:
        if line.asked or not line.usable:
            line.close()
            return
        if self._waiting >= self._most:
            self._drop_oldest()
        line.idle_since = time.monotonic()
        self._idle.setdefault(place, deque()).append(line)
        self._waiting += 1

    def _drop_oldest(self) -> None:
        place, lines = next((place, lines) for place, lines in self._idle.items() if lines)
        lines.popleft().close()
        self._waiting -= 1
        if not lines:
            del self._idle[place]

    async def _connected(self, place: Place) -> HttpLine:
        try:
            async with asyncio.timeout(self._timeout_s):
                addresses = await self._addresses(place)
                found = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1)
                tls = self._tls if place.tls else None
                name = place.host if place.tls else None
                _, line = await asyncio.get_running_loop().create_connection(HttpLine, sock=found, ssl=tls, server_hostname=name)
        except (OSError, UnicodeError) as error:  # a time-out and what TLS says are the first, a name that is none the second
            raise Unsent(type(error).__name__) from error
        return line

    async def _addresses(self, place: Place) -> list[aiohappyeyeballs.AddrInfoType]:
        until, found = self._known.get(place, (0.0, []))
        if until < time.monotonic():
            if len(self._known) >= self._most:
                self._known.clear()
            resolved = await self._resolver.resolve(place.host, place.port, socket.AF_UNSPEC)
            found = [_address(result["host"], result["port"]) for result in resolved]
            self._known[place] = (time.monotonic() + _RESOLVED_S, found)
        return found


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Each with its line end. Raises ValueError for what would break out of its line."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if any(not line.isascii() or not line.isprintable() for line in lines):
        raise ValueError("headers are printable ASCII")
    return "".join(f"{line}\r\n" for line in lines).encode()


def _address(host: str, port: int) -> aiohappyeyeballs.AddrInfoType:
    if ":" in host:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))

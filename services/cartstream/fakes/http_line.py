"""One HTTP/1.1 connection to the fake providers: requests are read, answered by a plain function, and cut off when that says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, cast

import httptools

from cartstream.fakes.failures import Failures

_LONGEST_BODY = 1024 * 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Request(NamedTuple):
    """`target` is path and query as they came; names of headers are lower-case."""

    method: str
    target: str
    headers: dict[bytes, bytes]
    body: bytes

    def header(self, name: bytes) -> str:
        """Empty if there is none."""
        return self.headers.get(name, b"").decode("latin-1")


class Response(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: str = ""
    """More of them, each with its line end."""


class Cut(NamedTuple):
    """No answer: the connection is cut, at once or when the failures are cleared."""

    after_silence: bool


@dataclass(eq=False)
class Desk:
    """What all connections share. `answer` does not raise."""

    answer: Callable[[Request], Response | Cut]
    failures: Failures
    open: set[HttpConnection]

    def close(self) -> None:
        for connection in list(self.open):
            connection.cut()


class HttpConnection(asyncio.Protocol):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._parser = httptools.HttpRequestParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._target = ""
        self._length = 0
        self._hanging: asyncio.Task[None] | None = None

    def cut(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._desk.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._desk.open.discard(self)
        if self._hanging is not None:
            self._hanging.cancel()

    def data_received(self, data: bytes) -> None:
        self._length += len(data)
        try:
            if self._length > _LONGEST_BODY:
                raise httptools.HttpParserError("too long")
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._write(Response(400, b'{"message":"not a request of HTTP/1.1"}'))
            self._transport.close()

    def on_message_begin(self) -> None:
        self._headers, self._body, self._target, self._length = {}, [], "", 0

    def on_url(self, url: bytes) -> None:
        self._target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._hanging is not None or self._transport.is_closing():
            return
        said = self._desk.answer(Request(self._parser.get_method().decode(), self._target, self._headers, b"".join(self._body)))
        if isinstance(said, Response):
            self._write(said)
            if not self._parser.should_keep_alive():
                self._transport.close()
        elif said.after_silence:
            self._hanging = asyncio.get_running_loop().create_task(self._hang())
        else:
            self.cut()

    async def _hang(self) -> None:
        await self._desk.failures.hang()
        self.cut()

    def _write(self, response: Response) -> None:
        status, body, content_type, more = response
        head = f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nContent-Type: {content_type}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode("latin-1") + body)

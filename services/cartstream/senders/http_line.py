"""One HTTP/1.1 connection: a request goes out as bytes, a whole answer comes back, and the connection says whether it can be used again."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, cast

import httptools

from cartstream.errors import CartstreamError

_MOST_BYTES = 256 * 1024


class Unanswered(CartstreamError):
    """A request was written, at least in part, and no whole answer came: it may have been taken. The message names what happened."""


class Reply(NamedTuple):
    """`headers` have lower-case names; of a name that comes twice the last stands."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class HttpLine(asyncio.Protocol):
    """One request at a time. `usable` is false for good once the connection cannot carry another."""

    def __init__(self) -> None:
        self.usable = False
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received = 0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._status = 0

    def ask(self, request: bytes, timeout_s: float) -> asyncio.Future[Reply]:
        """Write the request. The answer fails with Unanswered. To give up, `close`."""
        self._received, self._status, self._answer = 0, 0, self._loop.create_future()
        self._timer = self._loop.call_later(timeout_s, self._fail, "TimeoutError")
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()

    @property
    def asked(self) -> bool:
        """An answer is still to come."""
        return self._answer is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if exc is None and self._status >= 200 and not self._is_framed():
            self._finish()
        else:
            self._fail(type(exc).__name__ if exc is not None else "ServerDisconnected")

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._answer is None or self._received > _MOST_BYTES:
            self._fail("UnexpectedData")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(type(error).__name__)

    def on_message_begin(self) -> None:
        if self._answer is None:  # a second answer to one request
            self.usable = False
        self._headers, self._body, self._status = {}, [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= 200 and not self._parser.should_keep_alive():
            self.usable = False

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._status >= 200:  # before it, only a word on the way
            self._finish()

    def _is_framed(self) -> bool:
        """Whether the answer says itself where it ends; else the end of the connection does."""
        return b"content-length" in self._headers or b"transfer-encoding" in self._headers

    def _finish(self) -> None:
        answer = self._take_answer()
        if answer is not None and not answer.done():
            answer.set_result(Reply(self._status, self._headers, b"".join(self._body)))

    def _fail(self, why: str) -> None:
        answer = self._take_answer()
        if answer is not None and not answer.done():
            answer.set_exception(Unanswered(why))
        self.close()

    def _take_answer(self) -> asyncio.Future[Reply] | None:
        answer, self._answer = self._answer, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return answer

"""One SMTP connection that is past its greeting: a mail goes out, in one write and two round trips where the relay can pipeline."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

from cartstream.errors import CartstreamError

_MOST_BYTES = 64 * 1024
_MAIL, _RCPT, _DATA, _CONTENT, _NOTHING, _RSET = range(6)


class Broken(CartstreamError):
    """The connection ended, or stopped making sense. `written`: the mail's content was out, so it may have been taken."""

    def __init__(self, why: str, written: bool) -> None:
        super().__init__(why)
        self.written = written


class Reply(NamedTuple):
    code: int
    text: str


class SmtpLine(asyncio.Protocol):
    """One mail at a time. `usable` is false for good once the connection cannot carry another.

    Takes over `transport` from the client that has connected, said EHLO and logged in. `pipelining` as in RFC 2920.
    """

    def __init__(self, transport: asyncio.Transport, pipelining: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport, self._pipelining = transport, pipelining
        self._answer: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = b""
        self._commands: tuple[bytes, ...] = ()
        self._step = _MAIL
        self._refusal: Reply | None = None
        self.usable = not transport.is_closing()
        self.carried = 0
        transport.set_protocol(self)

    def send(self, sender: str, recipient: str, content: bytes, timeout_s: float) -> asyncio.Future[Reply]:
        """The reply to the content, or the first refusal before it. Fails with Broken. Addresses hold no control character.

        `content` has CR LF at the end of each line, the last one too.
        """
        if b"\r\n." in content or content[:1] == b".":
            content = re.sub(rb"(?m)^\.", b"..", content)
        self._commands = (b"MAIL FROM:<%s>\r\n" % sender.encode("ascii"), b"RCPT TO:<%s>\r\n" % recipient.encode("ascii"), b"DATA\r\n")
        self._commands += (content + b".\r\n",)
        self._step, self._refusal, self._answer = _MAIL, None, self._loop.create_future()
        self._timer = self._loop.call_later(timeout_s, self._fail, "TimeoutError")
        self.carried += 1
        self._transport.write(b"".join(self._commands[:_CONTENT]) if self._pipelining else self._commands[_MAIL])
        return self._answer

    def hang_up(self) -> None:
        """In good order. Nobody may wait for an answer."""
        self.usable = False
        if not self._transport.is_closing():
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    def abort(self) -> None:
        self._fail("aborted")

    @property
    def asked(self) -> bool:
        """An answer is still to come."""
        return self._answer is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(type(exc).__name__ if exc is not None else "ServerDisconnected")

    def data_received(self, data: bytes) -> None:
        self._heard += data
        try:
            while self._answer is not None and (reply := self._next_reply()) is not None:
                self._replied(reply)
        except ValueError:
            self._fail("NoReplyCode")
        if self._heard and (self._answer is None or len(self._heard) > _MOST_BYTES):
            self._fail("UnexpectedData")

    def _next_reply(self) -> Reply | None:
        """None: not all of it is here. The lines of its text are joined by spaces. Raises ValueError."""
        at, texts = 0, []
        while (end := self._heard.find(b"\n", at)) >= 0:
            line, at = self._heard[at:end], end + 1
            code = int(line[:3])
            texts.append(line[4:].strip())
            if line[3:4] != b"-":
                self._heard = self._heard[at:]
                return Reply(code, b" ".join(texts).decode(errors="replace"))
        return None

    def _replied(self, reply: Reply) -> None:
        step = self._step
        if reply.code == 421:
            self.usable = False
            self._finish(self._refusal or reply)
        elif step == _RSET:
            self.usable = self.usable and reply.code == 250
            self._finish(self._refusal or reply)
        elif step == _NOTHING:
            self._clear()
        elif step == _CONTENT:
            self._finish(reply)
        elif reply.code == 354 if step == _DATA else 200 <= reply.code < 300:
            self._accepted()
        else:
            self._refused(reply)

    def _accepted(self) -> None:
        if self._refusal is not None and self._step == _DATA:
            # A relay that pipelines may ask for the content of a mail without recipients: it gets none.
            self._step = _NOTHING
            self._transport.write(b".\r\n")
            return
        self._step += 1
        if self._step == _CONTENT or not self._pipelining:
            self._transport.write(self._commands[self._step])

    def _refused(self, reply: Reply) -> None:
        self._refusal = self._refusal or reply
        if self._pipelining and self._step < _DATA:
            self._step += 1
        else:
            self._clear()

    def _clear(self) -> None:
        """A refusal leaves the relay in the middle of a transaction."""
        self._step = _RSET
        self._transport.write(b"RSET\r\n")

    def _finish(self, reply: Reply) -> None:
        answer = self._take_answer()
        if answer is not None and not answer.done():
            answer.set_result(reply)

    def _fail(self, why: str) -> None:
        self.usable = False
        answer, written = self._take_answer(), self._step == _CONTENT
        if answer is not None and not answer.done():
            if self._refusal is not None:  # it has been said; only the clearing away failed
                answer.set_result(self._refusal)
            else:
                answer.set_exception(Broken(why, written))
        self._transport.abort()

    def _take_answer(self) -> asyncio.Future[Reply] | None:
        answer, self._answer = self._answer, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return answer

"""The fake mail relay: the little of ESMTP that a sender speaks, pipelining included, at less cost than what it tests."""

from __future__ import annotations

import asyncio
import email.header
import re
from typing import cast

from cartstream.fakes.failures import Failure, Failures
from cartstream.fakes.inbox import Inbox

_HEADER = re.compile(rb"^(X-Cartstream-Command|X-Cartstream-Step|Subject): ((?:.*)(?:\r?\n[ \t].*)*)", re.MULTILINE | re.IGNORECASE)
_PATH = re.compile(rb"(?:FROM|TO): ?<([^<>\s]*)>", re.IGNORECASE)
_AT_RECIPIENT = (450, 550, 551, 553)
_END = b"\r\n.\r\n"
_LONGEST_LINE = 4_096
_LONGEST_CONTENT = 32 * 1024 * 1024
_NAME = b"fakes.example.test"
_EXTENSIONS = b"250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE %d\r\n" % (_NAME, _LONGEST_CONTENT)


class MailServer(asyncio.Protocol):
    """One connection. A refusal of the recipient is said at RCPT, any other after the content."""

    def __init__(self, inbox: Inbox, failures: Failures) -> None:
        self._inbox, self._failures = inbox, failures
        self._heard = bytearray()
        self._hanging: asyncio.Task[None] | None = None
        self._sender: bytes | None = None
        self._recipient: str | None = None
        self._failure: Failure | None = None
        self._in_content = False
        self._leaving = False
        self._seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 %s ESMTP\r\n" % _NAME)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hanging is not None:
            self._hanging.cancel()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        replies = []
        while self._hanging is None and (said := self._next()) is not None:
            replies.append(self._content(said) if self._in_content else self._command(said))
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join(replies))
        if self._leaving:
            self._transport.close()
        if len(self._heard) > (_LONGEST_CONTENT if self._in_content else _LONGEST_LINE):
            self._transport.abort()

    def _next(self) -> bytes | None:
        """The next command's line or mail's content, without its end; None if it is not all here."""
        heard = self._heard
        if not self._in_content:
            end, skip = heard.find(b"\n"), 1
        elif heard.startswith(_END[2:]):
            end, skip = 0, 3
        else:
            end, skip = heard.find(_END, self._seen), 5
            self._seen = max(0, len(heard) - 4)
        if end < 0:
            return None
        said = bytes(heard[:end])
        del heard[: end + skip]
        return said

    def _command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"MAIL":
            return self._mail(line)
        if verb == b"RCPT":
            return self._rcpt(line)
        if verb == b"DATA":
            return self._data()
        if verb == b"EHLO":
            return _EXTENSIONS
        if verb == b"HELO":
            return b"250 %s\r\n" % _NAME
        if verb in (b"RSET", b"NOOP"):
            self._forget()
            return b"250 OK\r\n"
        if verb == b"QUIT":
            self._leaving = True
            return b"221 Bye\r\n"
        return b"502 not here\r\n"

    def _mail(self, line: bytes) -> bytes:
        path = _PATH.search(line)
        if path is None:
            return b"501 say MAIL FROM:<address>\r\n"
        if self._sender is not None:
            return b"503 one mail at a time\r\n"
        self._sender = path[1]
        return b"250 OK\r\n"

    def _rcpt(self, line: bytes) -> bytes:
        path = _PATH.search(line)
        if path is None or not path[1]:
            return b"501 say RCPT TO:<address>\r\n"
        if self._sender is None:
            return b"503 MAIL first\r\n"
        address = path[1].decode(errors="replace")
        failure = self._failures.next("email", address)
        if failure is not None and failure.status in _AT_RECIPIENT:
            return _refusal(failure)
        self._recipient, self._failure = self._recipient or address, failure
        return b"250 OK\r\n"

    def _data(self) -> bytes:
        if self._recipient is None:
            return b"503 RCPT first\r\n"
        self._in_content, self._seen = True, 0
        return b"354 go on\r\n"

    def _content(self, content: bytes) -> bytes:
        failure, recipient = self._failure, self._recipient or ""
        self._forget()
        if failure is not None and failure.status is not None:
            return _refusal(failure)
        number = 0
        if failure is None or failure.accepts:
            number = self._take(recipient, content + b"\r\n")
        if failure is None:
            return b"250 OK queued as %d\r\n" % number
        if failure.mode.endswith("timeout"):
            self._hanging = asyncio.get_running_loop().create_task(self._hang())
        else:
            self._transport.abort()
        return b""

    def _forget(self) -> None:
        self._sender = self._recipient = self._failure = None
        self._in_content = False

    async def _hang(self) -> None:
        await self._failures.hang()
        self._transport.abort()

    def _take(self, recipient: str, content: bytes) -> int:
        if b"\r\n.." in content or content[:2] == b"..":
            content = re.sub(rb"(?m)^\.\.", b".", content)
        head = content[: content.find(b"\r\n\r\n")]
        found = {name.lower(): value.decode(errors="replace").strip() for name, value in _HEADER.findall(head)}
        journey, _, step = found.get(b"x-cartstream-step", "").partition("/")
        ids = (found.get(b"x-cartstream-command"), journey or None, step or None)
        return self._inbox.take("email", recipient, ids, _decoded(found.get(b"subject", "")), content)


def _refusal(failure: Failure) -> bytes:
    return f"{failure.mode} {failure.text}\r\n".encode()


def _decoded(subject: str) -> str:
    return str(email.header.make_header(email.header.decode_header(subject))) if "=?" in subject else subject

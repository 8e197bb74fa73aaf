"""The fake mail relay."""

from __future__ import annotations

import asyncio
import email.header
import re
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from cartstream.fakes.failures import Failure, Failures
from cartstream.fakes.inbox import Inbox

_HEADER = re.compile(rb"^(X-Cartstream-Command|X-Cartstream-Step|Subject): ((?:.*)(?:\r?\n[ \t].*)*)", re.MULTILINE | re.IGNORECASE)
_AT_RECIPIENT = (450, 550, 551, 553)


class MailHandler:
    """What aiosmtpd calls for each command. A refusal of the recipient is said at RCPT, any other after the content."""

    def __init__(self, inbox: Inbox, failures: Failures) -> None:
        self._inbox, self._failures = inbox, failures
        self._decided: dict[int, Failure | None] = {}

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        failure = self._failures.next("email", address)
        if failure is not None and failure.status in _AT_RECIPIENT:
            return _refusal(failure)
        self._decided[id(session)] = failure
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        failure = self._decided.pop(id(session), None)
        if failure is not None and failure.status is not None:
            return _refusal(failure)
        number = 0
        if failure is None or failure.accepts:
            number = self._take(envelope)
        if failure is not None:
            if failure.mode.endswith("timeout"):
                await self._failures.hang()
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return f"250 OK queued as {number}"

    def _take(self, envelope: Envelope) -> int:
        content = envelope.content
        raw = content.encode() if isinstance(content, str) else content or b""
        head = raw.partition(b"\r\n\r\n")[0]
        found = {name.lower(): value.decode(errors="replace").strip() for name, value in _HEADER.findall(head)}
        journey, _, step = found.get(b"x-cartstream-step", "").partition("/")
        ids = (found.get(b"x-cartstream-command"), journey or None, step or None)
        return self._inbox.take("email", envelope.rcpt_tos[0], ids, _decoded(found.get(b"subject", "")), raw)


def mail_server(handler: MailHandler) -> Any:
    """A protocol for `loop.create_server`."""
    return SMTP(handler, hostname="fakes.example.test", enable_SMTPUTF8=False, timeout=600)


def _refusal(failure: Failure) -> str:
    return f"{failure.mode} {failure.text}"


def _decoded(subject: str) -> str:
    return str(email.header.make_header(email.header.decode_header(subject))) if "=?" in subject else subject

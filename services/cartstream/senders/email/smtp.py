"""A pool of SMTP connections: each carries one message at a time and is renewed after a number of them."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import aiosmtplib

from cartstream.senders.channel import Letter
from cartstream.senders.email.mime import Mail, MailWriter
from cartstream.senders.outcomes import Answer, Outcome, smtp
from cartstream.senders.settings import EmailSettings


@dataclass(slots=True)
class _Line:
    client: aiosmtplib.SMTP
    left: int


class EmailChannel:
    """`Channel` over SMTP. What fails before the message's content is written was surely not sent; what fails after, who knows."""

    name = "email"

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings
        self._writer = MailWriter(settings)
        self._idle: list[_Line] = []
        self.at_least_once = bool(settings.email_idempotency_header)
        self.in_flight = settings.smtp_connections
        self.rate = settings.email_rate

    async def open(self) -> None:
        return

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._hang_up(line) for line in idle))

    def render(self, letter: Letter) -> Mail:
        return self._writer.write(letter)

    def cost(self, message: Mail) -> int:
        return 1

    async def send(self, message: Mail) -> Answer:
        line: _Line | None = None
        try:
            line = self._idle.pop() if self._idle else await self._connect()
            answer = await self._say(line, message)
        except aiosmtplib.SMTPResponseException as error:
            answer = smtp(error.code, error.message)
            line = await self._reset(line)
        except (TimeoutError, OSError, aiosmtplib.SMTPException) as error:
            answer = Answer(Outcome.TRANSIENT, type(error).__name__)
        if line is not None:
            await self._put_back(line)
        return answer

    async def _connect(self) -> _Line:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
            username=settings.smtp_user or None,
            password=settings.smtp_password.get_secret_value() or None,
            timeout=settings.send_timeout_s,
            tls_context=ssl.create_default_context() if settings.smtp_tls != "none" else None,
        )
        await client.connect()
        return _Line(client, settings.smtp_messages)

    async def _say(self, line: _Line, message: Mail) -> Answer:
        line.left -= 1
        client = line.client
        await client.mail(self._writer.sender)
        await client.rcpt(message.recipient)
        try:
            reply = await client.data(message.content)
        except (aiosmtplib.SMTPServerDisconnected, TimeoutError) as error:
            return Answer(Outcome.AMBIGUOUS, type(error).__name__)
        answer = smtp(reply.code, reply.message)
        return Answer(answer.outcome, answer.code, provider_id=reply.message[:200] or None)

    async def _reset(self, line: _Line | None) -> _Line | None:
        """A refusal leaves the server in the middle of a transaction."""
        if line is None:
            return None
        try:
            await line.client.rset()
        except (OSError, TimeoutError, aiosmtplib.SMTPException):
            line.client.close()
            return None
        return line

    async def _put_back(self, line: _Line) -> None:
        if not line.client.is_connected:
            return
        if line.left <= 0:
            await self._hang_up(line)
            return
        self._idle.append(line)

    async def _hang_up(self, line: _Line) -> None:
        try:
            await line.client.quit()
        except (OSError, TimeoutError, aiosmtplib.SMTPException):
            line.client.close()

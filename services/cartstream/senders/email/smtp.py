"""A pool of SMTP connections: each carries one message at a time and is renewed after a number of them."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import aiosmtplib

from cartstream.senders.channel import Letter
from cartstream.senders.email.mime import Mail, MailWriter
from cartstream.senders.email.smtp_line import Broken, SmtpLine
from cartstream.senders.outcomes import Answer, Outcome, smtp
from cartstream.senders.settings import EmailSettings


class EmailChannel:
    """`Channel` over SMTP. What fails before the message's content is written was surely not sent; what fails after, who knows."""

    name = "email"

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings
        self._writer = MailWriter(settings)
        self._idle: list[SmtpLine] = []
        self.at_least_once = bool(settings.email_idempotency_header)
        self.in_flight = settings.smtp_connections
        self.rate = settings.email_rate

    async def open(self) -> None:
        return

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for line in idle:
            line.hang_up()

    def render(self, letter: Letter) -> Mail:
        return self._writer.write(letter)

    def cost(self, message: Mail) -> int:
        return 1

    async def send(self, message: Mail) -> Answer:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.send_timeout_s
        try:
            line = self._idle_line() or await self._connected()
        except aiosmtplib.SMTPResponseException as error:
            return smtp(error.code, error.message)
        except (OSError, aiosmtplib.SMTPException) as error:  # TimeoutError and TLS's are the first
            return Answer(Outcome.TRANSIENT, type(error).__name__)
        try:
            reply = await line.send(self._writer.sender, message.recipient, message.content, until - loop.time())
        except Broken as error:
            return Answer(Outcome.AMBIGUOUS if error.written else Outcome.TRANSIENT, str(error))
        finally:
            self._put_back(line)
        answer = smtp(reply.code, reply.text)
        return Answer(Outcome.OK, answer.code, provider_id=reply.text[:200] or None) if answer.outcome is Outcome.OK else answer

    def _idle_line(self) -> SmtpLine | None:
        while self._idle:
            if (line := self._idle.pop()).usable:
                return line
        return None

    async def _connected(self) -> SmtpLine:
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
        try:
            async with asyncio.timeout(settings.send_timeout_s):
                await client.connect()
                await _greet(client)
        except BaseException:
            client.close()
            raise
        return SmtpLine(cast(asyncio.Transport, client.transport), client.supports_extension("pipelining"))

    def _put_back(self, line: SmtpLine) -> None:
        if line.asked or not line.usable:
            line.abort()
        elif line.carried >= self._settings.smtp_messages:
            line.hang_up()
        else:
            self._idle.append(line)


async def _greet(client: aiosmtplib.SMTP) -> None:
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError:
            await client.helo()

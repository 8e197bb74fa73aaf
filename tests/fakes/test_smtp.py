"""The fake relay takes mail from any client, as a real one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiosmtplib
import pytest

from cartstream.fakes.failures import Failure
from cartstream.fakes.service import Fakes

_MAIL = b"Subject: =?utf-8?q?Caf=C3=A9?=\r\nX-Cartstream-Command: c1\r\nX-Cartstream-Step: j/s\r\n\r\nhello\r\n.dot\r\n"


@pytest.fixture
async def client(fakes: Fakes) -> AsyncIterator[aiosmtplib.SMTP]:
    async with aiosmtplib.SMTP(hostname=fakes.addresses.smtp_host, port=fakes.addresses.smtp_port, start_tls=False) as connected:
        yield connected


async def test_a_mail_is_kept_with_what_its_headers_say(fakes: Fakes, client: aiosmtplib.SMTP) -> None:
    for _ in range(2):
        await client.sendmail("shop@example.test", "ada@example.test", _MAIL)

    first, second = fakes.inbox.after(0)
    assert (first.channel, first.to, first.command_id, first.journey, first.step) == ("email", "ada@example.test", "c1", "j", "s")
    assert first.subject == "Café"
    assert fakes.inbox.content(second.n) == _MAIL
    assert (await client.noop()).code == (await client.rset()).code == 250


@pytest.mark.parametrize(("mode", "at_recipient"), [("550", True), ("451", False)])
async def test_a_refusal_is_told_where_a_relay_would_and_the_next_mail_is_taken(
    fakes: Fakes, client: aiosmtplib.SMTP, mode: str, at_recipient: bool
) -> None:
    fakes.failures.plan(Failure("email", mode, text="5.1.1 no"))

    with pytest.raises(aiosmtplib.SMTPRecipientsRefused if at_recipient else aiosmtplib.SMTPDataError):
        await client.sendmail("shop@example.test", "ada@example.test", _MAIL)
    assert not fakes.inbox.after(0)
    await client.sendmail("shop@example.test", "ada@example.test", _MAIL)
    assert len(fakes.inbox.after(0)) == 1


@pytest.mark.parametrize(("mode", "kept"), [("reset", 0), ("accept_then_reset", 1)])
async def test_a_connection_is_cut_before_or_after_the_mail_is_taken(fakes: Fakes, client: aiosmtplib.SMTP, mode: str, kept: int) -> None:
    fakes.failures.plan(Failure("email", mode))

    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await client.sendmail("shop@example.test", "ada@example.test", _MAIL)
    assert len(fakes.inbox.after(0)) == kept


async def test_a_whole_conversation_in_one_write_is_answered_in_order(fakes: Fakes) -> None:
    reader, writer = await asyncio.open_connection(fakes.addresses.smtp_host, fakes.addresses.smtp_port)
    said = b"EHLO x\r\nDATA\r\nRCPT TO:<a@b.test>\r\nMAIL FROM:<s@b.test>\r\nMAIL FROM:<s@b.test>\r\nRCPT TO: <a@b.test>\r\nDATA\r\n"
    writer.write(said + b".\r\nVRFY a\r\nQUIT\r\n")

    codes = [line[:3] for line in (await reader.read(-1)).splitlines()]
    writer.close()

    assert codes == [b"220", *[b"250"] * 4, b"503", b"503", b"250", b"503", b"250", b"354", b"250", b"502", b"221"]
    assert fakes.inbox.after(0)[0].to == "a@b.test"

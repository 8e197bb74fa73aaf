"""The SMTP channel against relays that pipeline or do not, refuse, fall silent or hang up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Keeping
from aiosmtpd.smtp import AuthResult

from cartstream.embedded.child import free_port
from cartstream.runtime.settings import load
from cartstream.senders.email.mime import Mail
from cartstream.senders.email.smtp import EmailChannel
from cartstream.senders.outcomes import Answer, Outcome
from cartstream.senders.settings import EmailSettings
from tests.senders.certificate import make_certificate
from tests.senders.stage import HASH_KEY

_MAIL = Mail("ada@example.test", b"Subject: x\r\n\r\nhello\r\n")
_CALM = {"MAIL": "250 OK", "RCPT": "250 OK", "DATA": "354 go on", ".": "250 queued as 1", "RSET": "250 OK", "QUIT": "221 bye"}


class Relay:
    """Says what its script says: a reply for each verb, `.` for the end of the content; "" hangs up, "silence" says nothing."""

    def __init__(self, pipelining: bool, **said: str) -> None:
        self._greeting = "250-relay.test\r\n250 PIPELINING" if pipelining else "250 relay.test"
        self.said = _CALM | {"." if verb == "END" else verb: reply for verb, reply in said.items()}
        self.heard: list[str] = []
        self.contents: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            writer.write(b"220 relay.test\r\n")
            while line := (await reader.readline()).decode().strip():
                verb = line[:4].upper()
                if verb == "EHLO":
                    reply = self._greeting
                elif verb == "." and self.heard[-1] == "DATA" and self.said["DATA"].startswith("354"):
                    reply = self.said["."]
                else:
                    self.heard.append(verb)
                    reply = self.said[verb]
                if not await self._says(writer, reply):
                    return
                if verb == "DATA" and reply.startswith("354") and not await self._takes_content(reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _takes_content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        content = b""
        while not content.endswith(b"\r\n.\r\n") and content != b".\r\n":
            content += await reader.readuntil(b"\n")
        self.contents.append(content)
        return await self._says(writer, self.said["."])

    async def _says(self, writer: asyncio.StreamWriter, reply: str) -> bool:
        if reply and reply != "silence":
            writer.write(f"{reply}\r\n".encode())
        return bool(reply)


@asynccontextmanager
async def sending(relay: Relay, **changes: object) -> AsyncIterator[EmailChannel]:
    """A channel to the relay."""
    listening = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with channel_to(port, **changes) as channel:
        yield channel
    listening.close()
    await listening.wait_closed()


@asynccontextmanager
async def channel_to(port: int, **changes: object) -> AsyncIterator[EmailChannel]:
    channel = EmailChannel(load(EmailSettings, hash_key=HASH_KEY, smtp_port=port, **({"send_timeout_s": 5.0} | changes)))
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()


both = pytest.mark.parametrize("pipelining", [True, False])


@both
async def test_mails_go_over_one_connection_after_the_other_until_it_is_renewed(pipelining: bool) -> None:
    relay = Relay(pipelining)
    async with sending(relay, smtp_messages=3) as channel:
        answers = [await channel.send(_MAIL) for _ in range(7)]

    assert answers == [Answer(Outcome.OK, "250", provider_id="queued as 1")] * 7
    assert relay.connections == 3
    assert relay.contents == [_MAIL.content + b".\r\n"] * 7
    assert relay.heard.count("DATA") == 7


@both
@pytest.mark.parametrize(
    ("said", "outcome", "code"),
    [
        ({"MAIL": "452 4.3.1 full"}, Outcome.TRANSIENT, "452"),
        ({"RCPT": "550-5.1.1 The mailbox\r\n550 5.1.1 does not exist"}, Outcome.RECIPIENT_DEAD, "550"),
        ({"RCPT": "550 5.1.1 no such user", "DATA": "503 no recipient"}, Outcome.RECIPIENT_DEAD, "550"),
        ({"DATA": "451 4.3.0 later"}, Outcome.TRANSIENT, "451"),
        ({"END": "552 5.3.4 too big"}, Outcome.CONTENT, "552"),
    ],
)
async def test_the_first_refusal_is_the_answer_and_the_connection_stays(
    pipelining: bool, said: dict[str, str], outcome: Outcome, code: str
) -> None:
    relay = Relay(pipelining, **said)
    async with sending(relay) as channel:
        refused = await channel.send(_MAIL)
        relay.said = _CALM
        taken = await channel.send(_MAIL)

    assert (refused.outcome, refused.code) == (outcome, code)
    assert taken.outcome is Outcome.OK
    assert relay.connections == 1
    if "END" not in said:
        assert "RSET" in relay.heard
        assert [content for content in relay.contents if content != b".\r\n"] == [_MAIL.content + b".\r\n"]


@both
@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"MAIL": ""}, Outcome.TRANSIENT),
        ({"RCPT": ""}, Outcome.TRANSIENT),
        ({"DATA": ""}, Outcome.TRANSIENT),
        ({"DATA": "silence"}, Outcome.TRANSIENT),
        ({"DATA": "what?"}, Outcome.TRANSIENT),
        ({"END": ""}, Outcome.AMBIGUOUS),
        ({"END": "silence"}, Outcome.AMBIGUOUS),
        ({"END": "what?"}, Outcome.AMBIGUOUS),
        ({"END": "250-never ending\r\n" * 4_000}, Outcome.AMBIGUOUS),
        ({"MAIL": "421 4.3.2 shutting down"}, Outcome.TRANSIENT),
        ({"END": "421 4.3.2 shutting down"}, Outcome.TRANSIENT),
        ({"RCPT": "550 5.1.1 no such user", "RSET": ""}, Outcome.RECIPIENT_DEAD),
        ({"RCPT": "550 5.1.1 no such user", "RSET": "500 what?"}, Outcome.RECIPIENT_DEAD),
    ],
)
async def test_a_connection_that_breaks_is_ambiguous_only_once_the_content_is_out(
    pipelining: bool, said: dict[str, str], outcome: Outcome
) -> None:
    relay = Relay(pipelining, **said)
    async with sending(relay, send_timeout_s=1.5 if "silence" in said.values() else 10.0) as channel:
        broken = await channel.send(_MAIL)
        relay.said = _CALM
        taken = await channel.send(_MAIL)

    assert broken.outcome is outcome
    assert taken.outcome is Outcome.OK
    assert relay.connections == 2


async def test_an_idle_connection_that_the_relay_closed_is_not_used() -> None:
    relay = Relay(True)
    async with sending(relay) as channel:
        relay.said = _CALM | {".": "250 queued\r\n421 4.4.2 closing for lack of work"}
        await channel.send(_MAIL)
        relay.said = _CALM
        answer = await channel.send(_MAIL)

    assert answer.outcome is Outcome.OK
    assert relay.connections == 2


async def test_without_a_relay_nothing_was_sent() -> None:
    async with channel_to(free_port()) as channel:
        assert (await channel.send(_MAIL)).outcome is Outcome.TRANSIENT


@pytest.mark.parametrize(("tls", "user"), [("none", ""), ("starttls", "shop"), ("tls", "")])
async def test_a_relay_that_is_not_ours_gets_every_line_as_it_was(
    tls: str, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    kept: list[str] = []

    class Handler(Keeping):
        def handle_message(self, message: object) -> None:
            kept.append(str(message))

    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=free_port(),
        ssl_context=made.server if tls == "tls" else None,
        tls_context=made.server if tls == "starttls" else None,
        require_starttls=tls == "starttls",
        auth_required=bool(user),
        auth_require_tls=tls == "starttls",
        authenticator=lambda *_: AuthResult(success=True),
    )
    controller.start()
    try:
        async with channel_to(controller.port, smtp_tls=tls, smtp_user=user, smtp_password="secret") as channel:
            answers = [await channel.send(Mail("ada@example.test", b"Subject: x\r\n\r\n.\r\n..dots\r\n.end\r\n")) for _ in range(3)]
    finally:
        controller.stop()

    assert [answer.outcome for answer in answers] == [Outcome.OK] * 3
    assert [re.sub(r"(?s).*\n\n", "", message, count=1) for message in kept] == [".\n..dots\n.end\n"] * 3

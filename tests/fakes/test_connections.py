"""Connections to the fake SMS and push providers: kept, closed, cut, and never left hanging at the end."""

from __future__ import annotations

import asyncio
import re

from cartstream.fakes.failures import Failure
from cartstream.fakes.service import Fakes, serving
from cartstream.fakes.settings import FakesSettings
from cartstream.runtime.settings import load

_FORM = b"To=%2B491701234567&Body=h%C3%A9llo+you"
_SMS = b"POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1\r\nAuthorization: Basic eDp5\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_FORM),
    _FORM,
)


async def _said(fakes: Fakes, *writes: bytes) -> bytes:
    """All that comes back until the server closes."""
    host, _, port = fakes.addresses.http.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for each in writes:
        writer.write(each)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(-1), 10)
    writer.close()
    return answer


_LAST = b"GET /counts HTTP/1.1\r\nConnection: close\r\n\r\n"


async def test_requests_of_one_connection_are_answered_in_order_until_it_asks_to_close(fakes: Fakes) -> None:
    said = await _said(fakes, _SMS[:30], _SMS[30:] + _SMS, _LAST + _SMS)

    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"201", b"201", b"200"]
    assert said.endswith(b'{"email":0,"sms":2,"push":0}')
    assert fakes.inbox.content(1) == "héllo you".encode()


async def test_what_is_no_request_is_told_so_and_cut(fakes: Fakes) -> None:
    assert (await _said(fakes, b"EHLO shop\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_reset_cuts_and_a_timeout_is_silent_until_failures_are_cleared(fakes: Fakes) -> None:
    fakes.failures.plan(Failure("sms", "accept_then_timeout"))
    hanging = asyncio.create_task(_said(fakes, _SMS))
    while not fakes.inbox.counts()["sms"]:  # noqa: ASYNC110 (the inbox tells nobody)
        await asyncio.sleep(0)
    fakes.failures.plan(Failure("sms", "reset"))
    assert await _said(fakes, _SMS) == b""

    assert not hanging.done()
    fakes.failures.clear()
    assert await hanging == b""
    assert fakes.inbox.counts()["sms"] == 1


async def test_the_end_of_the_providers_ends_every_connection() -> None:
    async with serving(load(FakesSettings)) as fakes:
        idle = asyncio.create_task(_said(fakes, _SMS))
        while not fakes.inbox.counts()["sms"]:  # noqa: ASYNC110 (the inbox tells nobody)
            await asyncio.sleep(0)

    assert (await idle).startswith(b"HTTP/1.1 201 ")

"""The fake providers' process: `cartstream fakes`."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import orjson
import uvloop

from cartstream.errors import ConfigError
from cartstream.fakes.failures import Failures
from cartstream.fakes.http import Api
from cartstream.fakes.http_line import Desk, HttpConnection
from cartstream.fakes.inbox import Inbox
from cartstream.fakes.settings import FakesSettings
from cartstream.fakes.smtp import MailServer
from cartstream.runtime import log
from cartstream.runtime.settings import load


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the providers are: `http` serves SMS (as CARTSTREAM_TWILIO_URL), push and control."""

    smtp_host: str
    smtp_port: int
    http: str


@dataclass(frozen=True, slots=True)
class Fakes:
    """Running providers, for tests in the same process."""

    addresses: Addresses
    inbox: Inbox
    failures: Failures


def run() -> int:
    """Serve until SIGTERM or SIGINT. Prints one line of JSON with the addresses when ready."""
    try:
        settings = load(FakesSettings)
    except ConfigError as error:
        print(f"cartstream: {error}", file=sys.stderr)
        return 2
    log.configure(settings.log_level, settings.log_format, service="fakes")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except OSError as error:
        print(f"cartstream: the fake providers cannot listen on {settings.fakes_host}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


async def _serve(settings: FakesSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings) as fakes:
        gc.freeze()
        gc.set_threshold(50_000, 20, 1_000)
        print(orjson.dumps(asdict(fakes.addresses)).decode(), flush=True)
        await stop.wait()


@asynccontextmanager
async def serving(settings: FakesSettings) -> AsyncIterator[Fakes]:
    """The providers, listening. Raises OSError."""
    loop = asyncio.get_running_loop()
    inbox, failures = Inbox(settings.fakes_keep), Failures()
    api = Api(inbox, failures)
    desk = Desk(api.answer, failures, set())
    mail = await loop.create_server(lambda: MailServer(inbox, failures), settings.fakes_host, settings.fakes_smtp_port)
    try:
        http = await loop.create_server(lambda: HttpConnection(desk), settings.fakes_host, settings.fakes_http_port)
        try:
            api.base_url = f"http://{settings.fakes_host}:{_port(http)}"
            yield Fakes(Addresses(settings.fakes_host, _port(mail), api.base_url), inbox, failures)
        finally:
            failures.clear()
            http.close()
            desk.close()
    finally:
        mail.close()


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])

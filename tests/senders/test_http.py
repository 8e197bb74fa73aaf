"""The HTTP pool against servers that answer well, badly, late or not at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.resolver import ThreadedResolver

from cartstream.embedded.child import free_port
from cartstream.senders.http import HttpPool, Place, Unsent, header_lines
from cartstream.senders.http_line import Reply, Unanswered
from tests.senders.certificate import make_certificate

_REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


class Server:
    """Answers each request with the next bytes of `answers`; b"" closes the connection, and the last one stays."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(2))
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                writer.write(answer)
                if not answer or answer.endswith(b"<end>"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def calling(server: Server, timeout_s: float = 5.0, most: int = 10) -> AsyncIterator[Callable[[], asyncio.Task[Reply]]]:
    """Calls to the server, each a task."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    place = Place("127.0.0.1", listening.sockets[0].getsockname()[1], False)
    pool = HttpPool(ThreadedResolver(), most, timeout_s)
    try:
        yield lambda: asyncio.create_task(pool.call(place, _REQUEST))
    finally:
        await pool.close()
        listening.close()
        await listening.wait_closed()


_SHORT = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\nok"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (_SHORT, b"ok"),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 201 Created\r\n\r\nok<end>", b"ok<end>"),
        (b"HTTP/1.0 201 Created\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + _SHORT, b"ok"),
    ],
)
async def test_a_whole_answer_is_read_however_it_ends(answer: bytes, body: bytes) -> None:
    server = Server(answer)
    async with calling(server) as call:
        replies = [await call() for _ in range(3)]

    assert [(reply.status, reply.body) for reply in replies] == [(201, body)] * 3
    assert server.requests == [_REQUEST] * 3


async def test_headers_are_found_by_their_lower_case_names() -> None:
    async with calling(Server(_SHORT)) as call:
        assert (await call()).headers[b"retry-after"] == b"7"


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (_SHORT, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 3),
        (b"HTTP/1.0 201 Created\r\nContent-Length: 2\r\n\r\nok", 3),
        (_SHORT + _SHORT, 3),
    ],
)
async def test_a_connection_is_kept_only_if_the_answer_leaves_it_clean(answer: bytes, connections: int) -> None:
    server = Server(answer)
    async with calling(server) as call:
        for _ in range(3):
            await call()

    assert server.connections == connections


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 201 Created\r\nContent-Le<end>",
        b"HTTP/1.1 201 Created\r\nContent-Length: 50\r\n\r\nok<end>",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok<end>",
        b"220 smtp.example ready\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nX: " + b"x" * 300_000,
    ],
)
async def test_without_a_whole_answer_the_request_may_have_been_taken(answer: bytes) -> None:
    server = Server(answer)
    async with calling(server) as call:
        with pytest.raises(Unanswered):
            await call()
    assert server.requests == [_REQUEST]


async def test_the_answer_of_an_earlier_call_is_never_the_next_ones() -> None:
    async with calling(Server(b"HTTP/1.1 204 No Content\r\n\r\n", b"")) as call:
        assert (await call()).status == 204
        with pytest.raises(Unanswered):
            await call()


async def test_an_answer_that_does_not_come_in_time_is_none() -> None:
    async with calling(Server(b"HTTP/1.1 201 Cre"), timeout_s=0.5) as call:
        with pytest.raises(Unanswered, match="TimeoutError"):
            await call()


async def test_an_asker_that_gives_up_leaves_no_answer_for_the_next() -> None:
    server = Server(b"HTTP/1.1 201 Cre", _SHORT)
    async with calling(server) as call:
        leaving = call()
        while not server.requests:  # noqa: ASYNC110 (the server tells nobody)
            await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (await call()).status == 201
    assert server.connections == 2


async def test_calls_at_the_same_time_have_connections_of_their_own_and_few_are_kept() -> None:
    server = Server(_SHORT)
    async with calling(server, most=2) as call:
        await asyncio.gather(*(call() for _ in range(5)))
        assert server.connections == 5
        await asyncio.gather(*(call() for _ in range(3)))
        assert server.connections == 6


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_server_whose_certificate_is_not_trusted_gets_no_request(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, server = make_certificate(tmp_path), Server(_SHORT)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=made.server)
    pool = HttpPool(ThreadedResolver(), 10, 5.0)
    place = Place("localhost", listening.sockets[0].getsockname()[1], True)
    if trusted:
        assert [(await pool.call(place, _REQUEST)).body for _ in range(3)] == [b"ok"] * 3
        assert server.connections == 1
    else:
        with pytest.raises(Unsent, match="SSLCertVerificationError"):
            await pool.call(place, _REQUEST)
    await pool.close()
    listening.close()
    await listening.wait_closed()
    assert bool(server.requests) == trusted


async def test_a_server_that_is_not_there_has_taken_nothing() -> None:
    pool = HttpPool(ThreadedResolver(), 10, 5.0)
    for host in ("127.0.0.1", "nowhere.invalid", "x" * 70 + ".invalid"):
        with pytest.raises(Unsent):
            await pool.call(Place(host, free_port(), False), _REQUEST)
    await pool.close()


async def test_a_server_that_does_not_take_the_connection_has_taken_nothing() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        pool = HttpPool(ThreadedResolver(), 10, 0.1)
        with pytest.raises(Unsent, match="TimeoutError"):
            await pool.call(Place("127.0.0.1", deaf.getsockname()[1], True), _REQUEST)
        await pool.close()


def test_a_place_is_named_as_a_browser_would() -> None:
    places = [Place("a.example", 443, True), Place("a.example", 80, False), Place("a.example", 8080, False), Place("::1", 8080, True)]
    assert [place.netloc for place in places] == ["a.example", "a.example", "a.example:8080", "[::1]:8080"]


def test_headers_are_lines() -> None:
    assert header_lines({"Host": "a.example", "A": "b"}) == b"Host: a.example\r\nA: b\r\n"


@pytest.mark.parametrize(("name", "value"), [("A\r\nB", "c"), ("A", "c\r\nX: y"), ("A", "c\x00"), ("A", "é")])
def test_nothing_breaks_out_of_a_headers_line(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        header_lines({name: value})

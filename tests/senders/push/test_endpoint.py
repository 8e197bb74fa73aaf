"""Push endpoints come from outside: those that lead into our own network are refused."""

from __future__ import annotations

import json
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from cartstream.errors import Refused
from cartstream.fakes.push import subscription as minted
from cartstream.senders.http import Place
from cartstream.senders.push.endpoint import PublicResolver, is_private, subscription


def _json(endpoint: str) -> str:
    return json.dumps(minted("https://push.example", "1") | {"endpoint": endpoint})


def test_a_browsers_subscription_is_read() -> None:
    found = subscription(_json("https://push.example:8443/send/abc"))

    assert found.origin.name == "https://push.example:8443"
    assert (found.origin.place, found.target) == (Place("push.example", 8443, True), "/send/abc")
    assert (len(found.p256dh), len(found.auth)) == (65, 16)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example/x",
        "https://localhost/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f.0.0.1/x",
        "https://10.1.2.3/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[fd00::1]/x",
        "https://redis.internal/x",
        "https://user:secret@push.example/x",
        "file:///etc/passwd",
    ],
)
def test_endpoints_that_lead_elsewhere_are_refused(endpoint: str) -> None:
    with pytest.raises(Refused) as refused:
        subscription(_json(endpoint))
    assert refused.value.reason in ("unsafe_endpoint", "bad_address")
    assert endpoint not in str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "origin", "target"),
    [
        ("https://push.example", "https://push.example", "/"),
        ("https://Push.Example:443/a?b=c%2F", "https://push.example", "/a?b=c%2F"),
        ("https://push.example/a b\r\nHost: x#part", "https://push.example", "/a%20bHost:%20x"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example", "/%C3%BC"),
        ("https://[2606:4700:4700::1111]/x", "https://[2606:4700:4700::1111]", "/x"),
    ],
)
def test_an_endpoint_however_written_is_one_place_and_a_target_without_spaces(endpoint: str, origin: str, target: str) -> None:
    found = subscription(_json(endpoint))

    assert (found.origin.name, found.target) == (origin, target)


@pytest.mark.parametrize("text", ["", "{}", "null", '{"endpoint":"https://a.b/c","keys":{"p256dh":"AA","auth":"AA"}}'])
def test_what_is_no_subscription_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="bad_address"):
        subscription(text)


class _Names(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0) for address in self._addresses]

    async def close(self) -> None:
        return


async def test_a_public_name_with_a_private_address_does_not_resolve() -> None:
    with pytest.raises(OSError, match="no public address"):
        await PublicResolver(_Names("192.168.1.1")).resolve("push.example")


async def test_only_the_public_addresses_of_a_name_are_used() -> None:
    found = await PublicResolver(_Names("192.168.1.1", "1.1.1.1")).resolve("push.example")

    assert [result["host"] for result in found] == ["1.1.1.1"]


def test_what_is_private_is_known() -> None:
    assert is_private("100.64.0.1")
    assert is_private("0.0.0.0")
    assert is_private("fe80::1%eth0")
    assert not is_private("8.8.8.8")
    assert not is_private("2606:4700:4700::1111")

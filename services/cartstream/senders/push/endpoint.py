"""Push subscriptions: parsed, and refused where a browser's push service cannot be. The endpoint comes from outside, so it is
a way into our own network unless it is checked: by its form here, and by what its name resolves to when connecting."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cartstream.errors import Refused
from cartstream.senders.push.vapid import unb64


class _Keys(msgspec.Struct):
    p256dh: str
    auth: str


class _Json(msgspec.Struct):
    endpoint: str
    keys: _Keys


@dataclass(frozen=True, slots=True)
class Subscription:
    endpoint: str
    origin: str
    p256dh: bytes
    auth: bytes


_parse = msgspec.json.Decoder(_Json).decode


def subscription(text: str, allow_http: bool = False, allow_private: bool = False) -> Subscription:
    """From the browser's JSON. Raises Refused (`bad_address`, `unsafe_endpoint`)."""
    try:
        parsed = _parse(text)
        p256dh, auth = unb64(parsed.keys.p256dh.rstrip("=")), unb64(parsed.keys.auth.rstrip("="))
        # The client refuses more than urlsplit does, and would say so only when sending.
        parts = urlsplit(str(URL(parsed.endpoint)))
        host, _ = parts.hostname, parts.port
    except (msgspec.DecodeError, ValueError) as error:
        raise Refused("bad_address", "the contact's push subscription is not one") from error
    if len(p256dh) != 65 or len(auth) != 16 or not host:
        raise Refused("bad_address", "the contact's push subscription is not one")
    if parts.username or parts.password or parts.scheme not in (("https", "http") if allow_http else ("https",)):
        raise Refused("unsafe_endpoint", "a push endpoint is https and holds no login")
    if not allow_private and _is_private_literal(host):
        raise Refused("unsafe_endpoint", "a push endpoint must not be a private address")
    return Subscription(parsed.endpoint, f"{parts.scheme}://{parts.netloc}", p256dh, auth)


def is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return not (mapped or ip).is_global or ip.is_multicast


def _is_private_literal(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return is_private(host)
    except ValueError:
        # 127.1, 0x7f000001 and the like: the resolver would take them.
        return all(part.isdigit() or part.lower().startswith("0x") for part in host.split("."))


class PublicResolver(AbstractResolver):
    """Resolves like `inner`, without the answers that lead into a private network."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found = [result for result in await self._inner.resolve(host, port, family) if not is_private(result["host"])]
        if not found:
            raise OSError(None, f"{host} has no public address")
        return found

    async def close(self) -> None:
        await self._inner.close()

"""Push subscriptions: parsed, and refused where a browser's push service cannot be. The endpoint comes from outside, so it is
a way into our own network unless it is checked: by its form here, and by what its name resolves to when connecting."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import lru_cache

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cartstream.errors import Refused
from cartstream.senders.http import Place
from cartstream.senders.push.vapid import unb64


class _Keys(msgspec.Struct):
    p256dh: str
    auth: str


class _Json(msgspec.Struct):
    endpoint: str
    keys: _Keys


@dataclass(frozen=True, slots=True)
class Origin:
    """A push service. `name` is `scheme://host[:port]`, as VAPID tokens say it."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Subscription:
    """`target` is what follows the origin in the endpoint's address: printable ASCII without spaces."""

    origin: Origin
    target: str
    p256dh: bytes
    auth: bytes


_parse = msgspec.json.Decoder(_Json).decode
_PLAIN = re.compile(r"(https?://[A-Za-z0-9.-]+(?::\d{1,5})?)(/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)\Z")


def subscription(text: str, allow_http: bool = False, allow_private: bool = False) -> Subscription:
    """From the browser's JSON. Raises Refused (`bad_address`, `unsafe_endpoint`)."""
    try:
        parsed = _parse(text)
        p256dh, auth = unb64(parsed.keys.p256dh.rstrip("=")), unb64(parsed.keys.auth.rstrip("="))
        base, target = _split(parsed.endpoint)
        found = _origin(base, allow_http, allow_private)
    except (msgspec.DecodeError, ValueError) as error:
        raise Refused("bad_address", "the contact's push subscription is not one") from error
    if len(p256dh) != 65 or len(auth) != 16:
        raise Refused("bad_address", "the contact's push subscription is not one")
    return Subscription(found, target, p256dh, auth)


def _split(endpoint: str) -> tuple[str, str]:
    """The origin as it is written, and the rest, quoted. Raises ValueError."""
    plain = _PLAIN.match(endpoint)
    if plain is not None:
        return plain[1], plain[2]
    url = URL(endpoint)
    base, target = str(url.with_path("/")), url.raw_path_qs
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError("not quoted")
    return base, target


@lru_cache(maxsize=1_000)
def _origin(base: str, allow_http: bool, allow_private: bool) -> Origin:
    """There are few push services, and many endpoints. Raises Refused (`unsafe_endpoint`) and ValueError."""
    url = URL(base)
    if not url.raw_host or not url.port:
        raise ValueError("no host")
    if url.user or url.password or url.scheme not in (("https", "http") if allow_http else ("https",)):
        raise Refused("unsafe_endpoint", "a push endpoint is https and holds no login")
    if not allow_private and _is_private_literal(url.raw_host):
        raise Refused("unsafe_endpoint", "a push endpoint must not be a private address")
    place = Place(url.raw_host, url.port, url.scheme == "https")
    return Origin(f"{url.scheme}://{place.netloc}", place)


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

"""The fake push service: mints subscriptions, and takes only what a real one would take and the browser could read."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import http_ece
import msgspec
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cartstream.errors import Refused
from cartstream.fakes.base64url import b64, unb64

_SECRET = b"cartstream fakes"
_KEY = ec.derive_private_key(int.from_bytes(hashlib.sha256(_SECRET).digest(), "big") >> 1, ec.SECP256R1())
_POINT = b64(_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_DAY_S = 86_400


class Payload(msgspec.Struct):
    """What our service worker reads."""

    id: str
    title: str
    body: str = ""
    journey: str | None = None
    step: str | None = None


_read_payload = msgspec.json.Decoder(Payload).decode


def subscription(base_url: str, number: str) -> dict[str, Any]:
    """The subscription of browser `number` as the browser would give it. The same number gives the same one, without any server."""
    return {
        "endpoint": f"{base_url}/push/send/{number}",
        "keys": {"p256dh": _POINT, "auth": b64(_auth(number))},
    }


def open_message(number: str, headers: Mapping[str, str], body: bytes, origin: str) -> tuple[Payload, bytes]:
    """The payload, read and raw. Raises Refused with the HTTP status as its reason."""
    if not headers.get("TTL", "").isdigit():
        raise Refused("400", "TTL is missing")
    if headers.get("Content-Encoding") != "aes128gcm":
        raise Refused("400", "Content-Encoding is not aes128gcm")
    if not _TOPIC.match(headers.get("Topic", "x")):
        raise Refused("400", "Topic is not 1 to 32 base64url characters")
    if len(body) > 4_096:
        raise Refused("413", "more than 4,096 bytes")
    _check_sender(headers.get("Authorization", ""), origin)
    try:
        opened: bytes = http_ece.decrypt(body, private_key=_KEY, auth_secret=_auth(number), version="aes128gcm")  # type: ignore[no-untyped-call]
        return _read_payload(opened), opened
    except (http_ece.ECEException, ValueError, msgspec.DecodeError) as error:
        raise Refused("400", f"the payload does not open: {type(error).__name__}") from error


def _check_sender(header: str, origin: str) -> None:
    expires = _signed_until(header, origin)
    if not time.time() < expires <= time.time() + _DAY_S:
        raise Refused("403", "the VAPID token is too old, or lasts longer than 24 h")


@lru_cache(maxsize=1_000)
def _signed_until(header: str, origin: str) -> int:
    """`exp` of a VAPID header whose signature and audience are right."""
    match = re.fullmatch(r"vapid t=([\w-]+)\.([\w-]+)\.([\w-]+), ?k=([\w-]+)", header)
    if match is None:
        raise Refused("401", "no VAPID Authorization")
    head, claims, signature, key = match.groups()
    try:
        raw = unb64(signature)
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(key))
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(SHA256()))
        parsed = orjson.loads(unb64(claims))
        if parsed["aud"] != origin or not parsed["sub"].startswith(("mailto:", "https:")):
            raise Refused("403", "the VAPID token is for another origin, or names no contact")
        return int(parsed["exp"])
    except (InvalidSignature, ValueError, KeyError, TypeError) as error:
        raise Refused("403", "the VAPID token is not signed with its key") from error


def _auth(number: str) -> bytes:
    return hmac.new(_SECRET, number.encode(), hashlib.sha256).digest()[:16]

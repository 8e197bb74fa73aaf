"""The fake push service: mints subscriptions, and takes only what a real one would take and the browser could read."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from functools import lru_cache
from typing import Any

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cartstream.errors import Refused
from cartstream.fakes.base64url import b64, unb64
from cartstream.fakes.http_line import Request

_SECRET = b"cartstream fakes"
_KEY = ec.derive_private_key(int.from_bytes(hashlib.sha256(_SECRET).digest(), "big") >> 1, ec.SECP256R1())
_OUR_POINT = _KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
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
        "keys": {"p256dh": b64(_OUR_POINT), "auth": b64(_auth(number))},
    }


def open_message(number: str, request: Request, origin: str) -> tuple[Payload, bytes]:
    """The payload, read and raw. Raises Refused with the HTTP status as its reason."""
    if not request.header(b"ttl").isdigit():
        raise Refused("400", "TTL is missing")
    if request.header(b"content-encoding") != "aes128gcm":
        raise Refused("400", "Content-Encoding is not aes128gcm")
    if b"topic" in request.headers and not _TOPIC.match(request.header(b"topic")):
        raise Refused("400", "Topic is not 1 to 32 base64url characters")
    if len(request.body) > 4_096:
        raise Refused("413", "more than 4,096 bytes")
    _check_sender(request.header(b"authorization"), origin)
    try:
        opened = _decrypt(request.body, _auth(number))
        return _read_payload(opened), opened
    except (InvalidTag, ValueError, msgspec.DecodeError) as error:
        raise Refused("400", f"the payload does not open: {type(error).__name__}") from error


def _decrypt(body: bytes, auth: bytes) -> bytes:
    """RFC 8291, one record: salt, record size, the sender's point, what was sealed. Raises ValueError and InvalidTag."""
    salt, point, sealed = body[:16], body[21:86], body[86:]
    if len(body) < 86 or body[20] != 65:
        raise ValueError("no point of the sender")
    shared = _KEY.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
    secret = _derived(auth, shared, b"WebPush: info\0" + _OUR_POINT + point, 32)
    cipher = AESGCM(_derived(salt, secret, b"Content-Encoding: aes128gcm\0", 16))
    padded = cipher.decrypt(_derived(salt, secret, b"Content-Encoding: nonce\0", 12), sealed, None).rstrip(b"\0")
    if padded[-1:] != b"\x02":
        raise ValueError("not the last record")
    return padded[:-1]


def _derived(salt: bytes, secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, purpose).derive(secret)


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

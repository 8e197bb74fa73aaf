"""Payloads that only the subscribed browser can read: RFC 8291 over aes128gcm (RFC 8188), one record a message."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cartstream.senders.push.vapid import public_point

_CURVE = ec.SECP256R1()
_RECORD = (4096).to_bytes(4, "big")
_LAST = b"\x02"
_ECDH = ec.ECDH()
_POINT_BYTES = bytes((65,))
OVERHEAD = 16 + len(_RECORD) + 1 + 65 + len(_LAST) + 16
"""Salt, record size, our point with its length, the mark of the last record, AES-GCM's tag."""


@dataclass(frozen=True, slots=True)
class Browser:
    """The one who can read: its public key, also as the 65 bytes of its point, and its secret of 16."""

    key: ec.EllipticCurvePublicKey
    point: bytes
    auth: bytes


def browser(point: bytes, auth: bytes) -> Browser:
    """Raises ValueError if the point is not on the curve."""
    return Browser(ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point), point, auth)


def encrypt(payload: bytes, reader: Browser) -> bytes:
    """With a key and a salt of its own. At most 3,993 bytes: all that is added, `OVERHEAD`, must fit the 4,096 that push services take."""
    return sealed(payload, reader, ec.generate_private_key(_CURVE), os.urandom(16))


def sealed(payload: bytes, reader: Browser, key: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """With a given key and salt: neither may ever be used twice."""
    ours = public_point(key.public_key())
    secret = _expand(_extract(reader.auth, key.exchange(_ECDH, reader.key)), b"WebPush: info\0" + reader.point + ours, 32)
    root = _extract(salt, secret)
    cipher, nonce = AESGCM(_expand(root, b"Content-Encoding: aes128gcm\0", 16)), _expand(root, b"Content-Encoding: nonce\0", 12)
    return b"".join((salt, _RECORD, _POINT_BYTES, ours, cipher.encrypt(nonce, payload + _LAST, None)))


def _extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF's first half (RFC 5869)."""
    return hmac.digest(salt, secret, "sha256")


def _expand(root: bytes, purpose: bytes, length: int) -> bytes:
    """Its second half, for 32 bytes at most."""
    return hmac.digest(root, purpose + b"\x01", "sha256")[:length]

"""Payloads that only the subscribed browser can read: RFC 8291 over aes128gcm (RFC 8188), one record a message."""

from __future__ import annotations

import hmac
import os

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cartstream.senders.push.vapid import public_point

_CURVE = ec.SECP256R1()
_RECORD = (4096).to_bytes(4, "big")
_LAST = b"\x02"


def encrypt(payload: bytes, point: bytes, auth: bytes) -> bytes:
    """For the browser's public `point` (65 bytes) and `auth` secret (16). Raises ValueError if the point is not on the curve.

    At most 3,993 bytes, so that all fits the 4,096 that push services take.
    """
    return sealed(payload, point, auth, ec.generate_private_key(_CURVE), os.urandom(16))


def sealed(payload: bytes, point: bytes, auth: bytes, key: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """With a given key and salt: neither may ever be used twice."""
    ours = public_point(key.public_key())
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point))
    secret = _expand(_extract(auth, shared), b"WebPush: info\0" + point + ours, 32)
    root = _extract(salt, secret)
    cipher, nonce = AESGCM(_expand(root, b"Content-Encoding: aes128gcm\0", 16)), _expand(root, b"Content-Encoding: nonce\0", 12)
    return b"".join((salt, _RECORD, bytes((len(ours),)), ours, cipher.encrypt(nonce, payload + _LAST, None)))


def _extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF's first half (RFC 5869)."""
    return hmac.digest(salt, secret, "sha256")


def _expand(root: bytes, purpose: bytes, length: int) -> bytes:
    """Its second half, for 32 bytes at most."""
    return hmac.digest(root, purpose + b"\x01", "sha256")[:length]

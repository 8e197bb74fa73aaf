"""VAPID (RFC 8292): who we are to a push service. One ES256 token for each origin, signed again after hours, not for each message."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cartstream.errors import ConfigError

_LIFETIME_S = 12 * 3_600
_RENEW_S = 1_800
_ORIGINS = 1_000


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def public_point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def generate() -> tuple[str, str]:
    """A new private key and the public one that browsers subscribe with, both base64url."""
    key = ec.generate_private_key(ec.SECP256R1())
    return b64(key.private_numbers().private_value.to_bytes(32, "big")), b64(public_point(key.public_key()))


class Vapid:
    """Makes Authorization headers. `now` is in seconds since the epoch."""

    def __init__(self, private_key: str, subject: str, now: Callable[[], float] = time.time) -> None:
        self._key = _load(private_key)
        if not subject.startswith(("mailto:", "https:")):
            raise ConfigError("CARTSTREAM_VAPID_SUBJECT: say mailto:… or https:…")
        self._subject, self._now = subject, now
        self.public_key = b64(public_point(self._key.public_key()))
        self._headers: dict[str, tuple[float, str]] = {}

    def header(self, origin: str) -> str:
        """For `scheme://host[:port]` of an endpoint."""
        expires, header = self._headers.get(origin, (0.0, ""))
        if expires - self._now() < _RENEW_S:
            if len(self._headers) >= _ORIGINS:
                self._headers.clear()
            expires = self._now() + _LIFETIME_S
            header = f"vapid t={self._token(origin, int(expires))}, k={self.public_key}"
            self._headers[origin] = (expires, header)
        return header

    def _token(self, origin: str, expires: int) -> str:
        claims = {"aud": origin, "exp": expires, "sub": self._subject}
        signed = b64(b'{"typ":"JWT","alg":"ES256"}') + "." + b64(orjson.dumps(claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return signed + "." + b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def _load(text: str) -> ec.EllipticCurvePrivateKey:
    try:
        raw = unb64(text)
        if len(raw) != 32:
            raise ValueError
        return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    except ValueError as error:
        raise ConfigError("CARTSTREAM_VAPID_PRIVATE_KEY is not base64url of 32 bytes: make one with `cartstream keys`") from error

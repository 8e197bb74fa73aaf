"""One-click unsubscribe links (RFC 8058): an opaque token that only we can make, and that needs no login."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from cartstream.errors import Refused

_TAG = 16


class Unsubscribe:
    """Makes and reads tokens. `key` is CARTSTREAM_HASH_KEY; tokens do not expire, as mails do not."""

    def __init__(self, key: str) -> None:
        self._key = hmac.new(key.encode(), b"cartstream unsubscribe", hashlib.sha256).digest()

    def token(self, customer_id: str, channel: str) -> str:
        body = f"{channel}\0{customer_id}".encode()
        return base64.urlsafe_b64encode(self._tag(body) + body).rstrip(b"=").decode()

    def read(self, token: str) -> tuple[str, str]:
        """Customer and channel. Raises Refused (`bad_token`)."""
        try:
            raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        except (binascii.Error, ValueError) as error:
            raise Refused("bad_token", "an unsubscribe token is base64url") from error
        tag, body = raw[:_TAG], raw[_TAG:]
        if not hmac.compare_digest(tag, self._tag(body)):
            raise Refused("bad_token", "an unsubscribe token was changed, or made with another key")
        channel, _, customer_id = body.decode().partition("\0")
        return customer_id, channel

    def _tag(self, body: bytes) -> bytes:
        return hmac.new(self._key, body, hashlib.sha256).digest()[:_TAG]

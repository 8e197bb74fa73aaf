"""The contact vault: seals addresses before they reach Redis, and hashes them before they reach a topic.

A sealed value is `<key id>\\0<12 bytes nonce><AES-256-GCM>`, bound to its channel. Keys are rotated by putting a new one
first: old values stay readable as long as their key is listed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cartstream.errors import CartstreamError, ConfigError


class Sealed(CartstreamError):
    """A sealed value cannot be opened: its key is not listed, or it was changed."""


class Vault:
    """Seals with the first key, opens with any. `keys` as in CARTSTREAM_VAULT_KEYS."""

    def __init__(self, keys: str) -> None:
        self._keys = dict(_parse(entry) for entry in keys.split(",") if entry.strip())
        if not self._keys:
            raise ConfigError("CARTSTREAM_VAULT_KEYS is empty: set id=base64 of 32 random bytes, e.g. from `cartstream keys`")
        self._first = next(iter(self._keys))

    def seal(self, channel: str, text: str) -> bytes:
        nonce = os.urandom(12)
        return self._first.encode() + b"\0" + nonce + self._keys[self._first].encrypt(nonce, text.encode(), channel.encode())

    def open(self, channel: str, sealed: bytes) -> str:
        """Raises Sealed."""
        key_id, _, body = sealed.partition(b"\0")
        key = self._keys.get(key_id.decode(errors="replace"))
        if key is None:
            raise Sealed(f"vault key {key_id.decode(errors='replace')!r} is not in CARTSTREAM_VAULT_KEYS: list it behind the newest")
        try:
            return key.decrypt(body[:12], body[12:], channel.encode()).decode()
        except InvalidTag as error:
            raise Sealed(f"a {channel} contact sealed with key {key_id.decode()!r} does not open: the key or the value changed") from error


def _parse(entry: str) -> tuple[str, AESGCM]:
    key_id, _, encoded = entry.strip().partition("=")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not key_id or len(key) != 32:
        raise ConfigError(f"CARTSTREAM_VAULT_KEYS: entry {key_id!r} is not id=base64 of 32 bytes; make one with `cartstream keys`")
    return key_id, AESGCM(key)


class AddressHash:
    """The keyed hash that stands for an address on topics: 32 hex characters, the same for the same key and address."""

    def __init__(self, key: str) -> None:
        if len(key) < 32:
            raise ConfigError("CARTSTREAM_HASH_KEY needs 32 characters or more; make one with `cartstream keys`")
        self._key = key.encode()

    def __call__(self, kind: str, normalised: str) -> str:
        return hmac.new(self._key, f"{kind}\x1f{normalised}".encode(), hashlib.sha256).hexdigest()[:32]

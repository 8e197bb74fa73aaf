"""Ids as Redis keeps them: a customer's, a UUID, and 16 letters of hexadecimal in half their letters."""

from __future__ import annotations

from binascii import unhexlify

CUSTOMER = "c_"
_CUSTOMER_LETTERS, _UUID_LETTERS, _SHORT_LETTERS = 26, 36, 16
_CUSTOMER_MARK, _UUID_MARK, _SHORT_MARK = b"\xff", b"\xfe", b"\xfd"  # no text in UTF-8 begins so


def packed(key: str) -> bytes:
    """No two keys have the same. `unpacked` gives it back."""
    length = len(key)
    try:
        if length == _CUSTOMER_LETTERS:
            if key[:2] == CUSTOMER and key.islower():
                return _CUSTOMER_MARK + unhexlify(key[2:])
        elif length == _UUID_LETTERS:
            if key[8] == key[13] == key[18] == key[23] == "-" and key.islower():
                return _UUID_MARK + unhexlify(key.replace("-", "", 4))
        elif length == _SHORT_LETTERS and key.islower():
            return _SHORT_MARK + unhexlify(key)
    except ValueError:
        pass  # another kind of key, that looks like one of these
    return key.encode()


def unpacked(raw: bytes) -> str:
    mark = raw[:1]
    if mark == _CUSTOMER_MARK:
        return CUSTOMER + raw[1:].hex()
    if mark == _UUID_MARK:
        return _uuid(raw[1:])
    return raw[1:].hex() if mark == _SHORT_MARK else raw.decode()


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

"""Ids as Redis keeps them: a customer's, a UUID, and 16 letters of hexadecimal in half their letters, as keys and in values."""

from __future__ import annotations

from binascii import unhexlify

CUSTOMER = "c_"
_CUSTOMER_LETTERS, _UUID_LETTERS, _SHORT_LETTERS, _HASH_LETTERS = 26, 36, 16, 32
_PACKED = (_CUSTOMER_LETTERS, _UUID_LETTERS, _SHORT_LETTERS, _HASH_LETTERS)
_CUSTOMER_MARK, _UUID_MARK, _SHORT_MARK, _HASH_MARK = b"\xff", b"\xfe", b"\xfd", b"\xfc"  # no text in UTF-8 begins so


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
    return raw[1:].hex() if mark in (_SHORT_MARK, _HASH_MARK) else raw.decode()


def shortened(text: str) -> bytes:
    """As `packed`, for values: also 32 letters of hexadecimal, and a UUID of figures alone. As keys these stay as they always were."""
    length = len(text)
    if length not in _PACKED:
        return text.encode()
    if length in (_UUID_LETTERS, _HASH_LETTERS) and text == text.lower():
        try:
            if length == _HASH_LETTERS:
                return _HASH_MARK + unhexlify(text)
            if text[8] == text[13] == text[18] == text[23] == "-":
                return _UUID_MARK + unhexlify(text.replace("-", "", 4))
        except ValueError:
            return text.encode()  # another kind of id, as long as one of these
    return packed(text)


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

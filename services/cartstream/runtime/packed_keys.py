"""Keys of states as Redis keeps them: a customer's id, or a UUID, in half its letters."""

from __future__ import annotations

CUSTOMER = "c_"
_CUSTOMER_LETTERS = 26
_CUSTOMER_MARK, _UUID_MARK = b"\xff", b"\xfe"  # no text in UTF-8 begins so


def packed(key: str) -> bytes:
    """No two keys have the same. `unpacked` gives it back."""
    length = len(key)
    try:
        if length == _CUSTOMER_LETTERS and key[:2] == CUSTOMER:
            raw = bytes.fromhex(key[2:])
            if len(raw) == 12 and key.islower():
                return _CUSTOMER_MARK + raw
        elif length == 36:
            raw = bytes.fromhex(key.replace("-", ""))
            if len(raw) == 16 and _uuid(raw) == key:
                return _UUID_MARK + raw
    except ValueError:
        pass
    return key.encode()


def unpacked(raw: bytes) -> str:
    mark = raw[:1]
    if mark == _CUSTOMER_MARK:
        return CUSTOMER + raw[1:].hex()
    return _uuid(raw[1:]) if mark == _UUID_MARK else raw.decode()


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

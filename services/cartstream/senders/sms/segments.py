"""How many segments an SMS costs (GSM 03.38, 3GPP TS 23.040): 160 septets or 153 each, 70 UTF-16 units or 67 each."""

from __future__ import annotations

from collections.abc import Iterable

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_SINGLE_SEPTETS, _PART_SEPTETS = 160, 153
_SINGLE_UNITS, _PART_UNITS = 70, 67


_GSM7 = _BASIC | _EXTENDED


def is_gsm7(text: str) -> bool:
    """One other character makes the whole message UCS-2."""
    return _GSM7.issuperset(text)


def segments(text: str) -> int:
    """Segments of the message. A two-unit character (an escape pair, a surrogate pair) is never cut in half."""
    if is_gsm7(text):
        if len(text) <= _SINGLE_SEPTETS and _EXTENDED.isdisjoint(text):
            return 1
        return _count((2 if character in _EXTENDED else 1 for character in text), _SINGLE_SEPTETS, _PART_SEPTETS)
    return _count((2 if ord(character) > 0xFFFF else 1 for character in text), _SINGLE_UNITS, _PART_UNITS)


def _count(widths: Iterable[int], single: int, part: int) -> int:
    sizes = list(widths)
    if sum(sizes) <= single:
        return 1
    parts, used = 1, 0
    for size in sizes:
        if used + size > part:
            parts, used = parts + 1, 0
        used += size
    return parts

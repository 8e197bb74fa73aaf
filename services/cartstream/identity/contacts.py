"""Addresses in events: found, normalised, taken out, and keyed hashes put in their place.

Nothing that leaves identity holds an address: not the traits, and not a URL or search term with an e-mail in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import phonenumbers
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from stringzilla import find

from cartstream.errors import Refused
from cartstream.runtime.vault import AddressHash

_AT = re.compile(r"@|%(?:25)*40")
_EMAIL = re.compile(rf"[\w.%+\-]{{1,64}}(?:{_AT.pattern})[\w.\-]{{1,253}}\.[^\W\d_]{{2,24}}")
_AT_SIGN, _PERCENT, _BACKSLASH = b"@%\\"
_PHONE_KEY = re.compile(rb'hone(?:_?number)?_?"\s*:')
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN_EMAIL = re.compile(rf"(?=.{{1,254}}$)[a-z0-9_+-]{{1,30}}(?:\.[a-z0-9_+-]{{1,30}})?@(?:{_LABEL}\.){{1,4}}[a-z]{{2,24}}")
_NOT_PLAIN = frozenset(SPECIAL_USE_DOMAIN_NAMES) - {"test"}
MAX_DEPTH = 200  # below what orjson writes (254) and Python recurses
_ADDRESS_KEYS = {
    "email": "email",
    "emailaddress": "email",
    "phone": "phone",
    "phonenumber": "phone",
    "telephone": "phone",
    "cellphone": "phone",
    "mobile": "phone",
    "mobilephone": "phone",
    "mobilenumber": "phone",
    "push": "push",
    "pushsubscription": "push",
    "pushtoken": "push",
    "devicetoken": "push",
    "token": "push",
}


class Found(msgspec.Struct):
    """What an event says about reaching its customer: normalised addresses by kind, and their hashes."""

    addresses: dict[str, str] = {}
    hashes: dict[str, str] = {}
    consent: dict[str, bool] = {}
    timezone: str | None = None
    locale: str | None = None
    loyalty_id: str | None = None


def may_hold_address(raw: bytes) -> bool:
    """A quick look that may say yes too often and never no too often. `in` with a number is one scan at memory speed; for a word
    stringzilla's `find` is: Python's own takes five times as long.

    Traits, consent and the device's push token are no business of it: the envelope tells of them. `\\u00` are characters that
    no encoder needs to escape, so a word may hide behind them.
    """
    if (
        _AT_SIGN in raw
        or (_PERCENT in raw and (find(raw, b"%40") >= 0 or find(raw, b"%25") >= 0))
        or (_BACKSLASH in raw and find(raw, b"\\u00") >= 0)
    ):
        return True
    low = raw.lower()
    if find(low, b'"push') >= 0 or find(low, b'"mobile') >= 0:
        return True
    return find(low, b"hone") >= 0 and _PHONE_KEY.search(low) is not None


def normalise(kind: str, value: Any) -> str | None:
    """The one spelling of an address, or None when it is none."""
    if kind == "push":
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if isinstance(value, dict) and "endpoint" in value else None
    if not isinstance(value, str) or len(value) > 320:
        return None
    if kind == "email":
        plain = value.strip().lower()
        if _PLAIN_EMAIL.fullmatch(plain) and "--" not in plain and plain.rpartition(".")[2] not in _NOT_PLAIN:
            return plain  # what the validator says too, in a hundredth of its time
        try:
            return validate_email(value.strip(), check_deliverability=False, test_environment=True).normalized.lower()
        except EmailNotValidError:
            return None
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if phonenumbers.is_possible_number(number) else None


class Redactor:
    """Takes addresses out of an event's JSON. `categories` maps consent categories (Segment) to channels.

    A `blocked` address is taken out like any other, but it is nobody's.
    """

    def __init__(self, hash_address: AddressHash, categories: dict[str, list[str]], blocked: Callable[[str], bool]) -> None:
        self._hash = hash_address
        self._blocked = blocked
        self._categories = categories

    def redact(self, raw: bytes) -> tuple[bytes, Found]:
        """The event without addresses, and what was found. Raises orjson.JSONDecodeError, RecursionError, Refused."""
        event = orjson.loads(raw)
        if not isinstance(event, dict):
            raise Refused("wrong_schema", "an event is a JSON object")
        found = Found()
        context = event.get("context")
        for traits in (context.get("traits") if isinstance(context, dict) else None, event.get("traits")):
            if isinstance(traits, dict):
                self._read(traits, found)
        if isinstance(context, dict):
            self._read_context(context, found)
        return orjson.dumps(self._clean(event, "", MAX_DEPTH)), found

    def _read(self, traits: dict[str, Any], found: Found) -> None:
        for name, value in traits.items():
            kind = _ADDRESS_KEYS.get(name.lower().replace("_", ""))
            address = normalise(kind, value) if kind else None
            if kind and address and not self._blocked(address):
                found.addresses[kind] = address
                found.hashes[kind] = self._hash(kind, address)
        if isinstance(consent := traits.get("consent"), dict):
            found.consent.update(
                {channel: said for channel, said in consent.items() if channel in ("email", "sms", "push") and isinstance(said, bool)}
            )
        found.timezone = self._text(traits.get("timezone"), 64) or found.timezone
        found.locale = self._text(traits.get("locale"), 32) or found.locale
        found.loyalty_id = self._text(traits.get("loyaltyId", traits.get("loyalty_id")), 128) or found.loyalty_id

    def _read_context(self, context: dict[str, Any], found: Found) -> None:
        consent = context.get("consent")
        preferences = consent.get("categoryPreferences") if isinstance(consent, dict) else None
        for category, said in (preferences or {}).items() if isinstance(preferences, dict) else ():
            if isinstance(said, bool):
                found.consent.update(dict.fromkeys(self._categories.get(category, []), said))
        if found.addresses or found.consent:
            found.timezone = found.timezone or self._text(context.get("timezone"), 64)
            found.locale = found.locale or self._text(context.get("locale"), 32)

    def _clean(self, value: Any, name: str, depth: int) -> Any:
        if not depth:
            raise RecursionError
        kind = _ADDRESS_KEYS.get(name.lower().replace("_", ""))
        if kind and value is not None and not isinstance(value, bool):
            return {"hash": self._hash(kind, normalise(kind, value) or repr(value))}
        if isinstance(value, dict):
            return {self._clean(key, "", depth): self._clean(entry, key, depth - 1) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._clean(entry, "", depth - 1) for entry in value]
        return self._without_addresses(value) if isinstance(value, str) else value

    def _without_addresses(self, text: str) -> str:
        if _AT.search(text) is None:
            return text
        return _EMAIL.sub(lambda match: self._hash("email", _AT.sub("@", match[0]).lower()), text)

    def _text(self, value: Any, limit: int) -> str | None:
        return self._without_addresses(value) if isinstance(value, str) and 0 < len(value) <= limit else None

"""Properties of the wrong kind: what can be made of them. Only for events that the strict decoder has refused."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

import msgspec

PROPERTY_REPAIRS: dict[str, str] = {
    "number_in_text": "a price or amount as people write it: read as a number",
    "number_for_text": "a number where a text belongs: read as text",
    "list_of_one": "one product where a list belongs: taken for a list of one",
    "product_dropped": "a product that is no object: left out",
    "field_dropped": "a field of which nothing can be made: left out",
    "out_of_range": "a quantity or price that no cart can have: brought into range, or left out",
}
"""Why an event counts as repaired in `cartstream_outcomes_total{kind="repaired"}`."""

_LONGEST = 64
_NUMBER = re.compile(r"-?\d(?:[\d.,'’\s]*\d)?")
_GROUPING = re.compile(r"['’\s]")


def usable(kind: type[Any], entry: type[Any], given: Any, repairs: list[str]) -> Any:
    """`kind` from those fields that fit or can be made to; the others are left out. `entry` is what its `products` are."""
    if not isinstance(given, dict):
        repairs.append("field_dropped")
        return kind()
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        value = given.get(field.name)
        if value is None:
            continue
        if field.name == "products":
            kept["products"] = _products(entry, value, repairs)
            continue
        try:
            kept[field.name] = msgspec.convert(value, field.type, strict=False)
        except msgspec.ValidationError:
            kept[field.name] = _repaired(value, field.type, repairs)
    return kind(**kept)


def number_in(text: str) -> float | None:
    """The one number in a text, however its thousands and decimals are marked: "1.299,00 €", "$1,299.00", "1 299,00".

    A single mark before exactly three digits marks thousands ("1,299"), unless nothing but a zero is before it ("0,125").
    """
    found = _NUMBER.findall(text) if len(text) <= _LONGEST else []
    if len(found) != 1:
        return None
    digits = _GROUPING.sub("", found[0])
    mark = max(".", ",", key=digits.rfind)
    if mark not in digits:
        return float(digits)
    whole, _, rest = digits.rpartition(mark)
    thousands = digits.count(mark) > 1 or (len(rest) == 3 and whole not in ("0", "-0") and not {".", ","} <= set(digits))
    number = re.sub("[.,]", "", digits) if thousands else f"{re.sub('[.,]', '', whole)}.{rest}"
    return float(number)


def _products(entry: type[Any], value: Any, repairs: list[str]) -> list[Any] | None:
    if isinstance(value, dict):
        repairs.append("list_of_one")
        value = [value]
    if not isinstance(value, list):
        repairs.append("field_dropped")
        return None
    repairs += ["product_dropped" for each in value if not isinstance(each, dict)]
    return [usable(entry, entry, each, repairs) for each in value if isinstance(each, dict)]


def _repaired(value: Any, type: Any, repairs: list[str]) -> Any:
    """None: nothing can be made of it."""
    if type == str | None and isinstance(value, int) and not isinstance(value, bool):
        repairs.append("number_for_text")
        return str(value)
    if isinstance(value, str) and type in (float | None, int | None):
        found = number_in(value)
        if found is not None and isfinite(found) and (type == float | None or found.is_integer()):
            repairs.append("number_in_text")
            return found if type == float | None else int(found)
    repairs.append("field_dropped")
    return None

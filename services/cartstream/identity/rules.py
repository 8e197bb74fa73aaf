"""The rules of identity, read from YAML: which identifiers there are, which are stronger, how many a customer may have.

Sources: Segment Unify (limits in windows, demote and retry, caps), PostHog and Segment (blocked values); see docs/identity.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from cartstream.events.records import Identifier
from cartstream.events.times import EventTime
from cartstream.identity.identifiers import BlockedValues, bare
from cartstream.runtime.rules_file import Duration, Problem, misfits, parse_rules, parse_written, text_of

DEFAULT = Path(__file__).with_name("default.yaml")
DEVICE = "device"
MOST_DEVICES = 10_000
Moments: TypeAlias = list[tuple[EventTime, str]]
"""When values were linked, and to which customer."""

_NOT_ODD = ("7f9c2ba4-e88f-427d-a160-45507605853e", "ann.lee")


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class TypeRule(_Rule, frozen=True):
    """At most `limit` values a customer in any stretch of event time as long as `within`; None: ever."""

    type: Literal["user_id", "email", "phone", "loyalty_id", "push", "device"]
    limit: Annotated[int, Meta(ge=1)]
    within: Duration | None = None

    @property
    def unique(self) -> bool:
        """Two values are two people, whatever else they share."""
        return self.limit == 1 and self.within is None


class Caps(_Rule, frozen=True):
    """`devices` of a customer, and `merges` of customers who were known each by himself, ever."""

    devices: Annotated[int, Meta(ge=1, le=MOST_DEVICES)] = 1_000
    merges: Annotated[int, Meta(ge=0)] = 100


class Blocked(_Rule, frozen=True):
    values: list[str] = []
    patterns: list[str] = []


class RulesText(_Rule, frozen=True):
    """A whole file."""

    identifiers: Annotated[list[TypeRule], Meta(min_length=1)]
    caps: Caps = Caps()
    blocked: Blocked = Blocked()


class Rules:
    """What identity links by. Immutable; types that the file leaves out link nobody."""

    __slots__ = ("_of_type", "_ranks", "caps", "types", "values")

    def __init__(self, text: RulesText) -> None:
        self.types = tuple(text.identifiers)
        """The strongest first."""
        self._of_type: dict[str, TypeRule] = {rule.type: rule for rule in text.identifiers}
        self._ranks: dict[str, int] = {rule.type: rank for rank, rule in enumerate(text.identifiers, 1)}
        self.caps = text.caps
        self.values = BlockedValues(text.blocked.values, text.blocked.patterns)

    def rule_of(self, kind: str) -> TypeRule | None:
        return self._of_type.get(kind)

    def links(self, kind: str) -> bool:
        return kind in self._ranks

    def strongest_first(self, identifiers: Iterable[Identifier]) -> list[Identifier]:
        """Those that link, each once."""
        known = {identifier for identifier in identifiers if identifier.type in self._ranks}
        return sorted(known, key=lambda identifier: (self._ranks[identifier.type], identifier.value))

    def allows(self, kind: str, moments: Moments) -> bool:
        """Whether customers may become one who have values of this type linked at these times. The order of telling plays no part, and
        what a single one of them has is allowed already."""
        rule = self._of_type.get(kind)
        if rule is None or len(moments) <= rule.limit:
            return True
        ordered = sorted(moments)
        width = rule.limit + 1
        if rule.within is None:
            return len({owner for _, owner in ordered}) == 1
        for start in range(len(ordered) - rule.limit):
            first, last = ordered[start][0], ordered[start + rule.limit][0]
            if last - first < rule.within and len({owner for _, owner in ordered[start : start + width]}) > 1:
                return False
        return True


@lru_cache(maxsize=1)
def default_rules() -> Rules:
    """Those of the package."""
    return read_rules(text_of(DEFAULT, "CARTSTREAM_IDENTITY_RULES"), DEFAULT.name)


def load_rules(path: Path | str | None = None) -> Rules:
    """The rules of a file, or of the package. Raises ConfigError: one `file:line: what is wrong` a line."""
    return read_rules(text_of(Path(path), "CARTSTREAM_IDENTITY_RULES"), str(path)) if path else default_rules()


def read_rules(text: str, file: str) -> Rules:
    """Raises ConfigError."""
    written = parse_rules(text, file)
    problems = list(_misshapen(written.plain))
    if not problems:
        rules = msgspec.convert(written.plain, RulesText, dec_hook=parse_written)
        problems = list(_contradictions(rules))
        if not problems:
            return Rules(rules)
    raise written.wrong(problems)


def _misshapen(plain: object) -> Iterator[Problem]:
    """Each identifier for itself, so that one mistake does not hide the next; then the whole."""
    found = False
    types = plain.get("identifiers") if isinstance(plain, dict) else None
    for index, rule in enumerate(types if isinstance(types, list) else ()):
        for problem in misfits(rule, TypeRule, f"$.identifiers[{index}]"):
            found = True
            yield problem
    if not found:
        yield from misfits(plain, RulesText)


def _contradictions(rules: RulesText) -> Iterator[Problem]:
    """What the shape cannot say."""
    names = [rule.type for rule in rules.identifiers]
    for index, rule in enumerate(rules.identifiers):
        place = f"$.identifiers[{index}]"
        if rule.type in names[:index]:
            yield f"{place}.type", f"{rule.type} is listed twice; rank follows the order, so list it once"
        if rule.within == 0:
            yield f"{place}.within", "a stretch of no time limits nothing; leave `within` out for ever"
    if DEVICE not in names:
        yield "$.identifiers", "device is missing: without it nobody is ever found on a second device"
    for index, value in enumerate(rules.blocked.values):
        if not bare(value):
            yield f"$.blocked.values[{index}]", "an empty value is always blocked; remove it"
    for index, pattern in enumerate(rules.blocked.patterns):
        wrong = _wrong_with(pattern)
        if wrong:
            yield f"$.blocked.patterns[{index}]", wrong


def _wrong_with(pattern: str) -> str | None:
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, RecursionError) as error:
        return f"no regular expression: {error}"
    if all(compiled.fullmatch(value) for value in _NOT_ODD):
        return f"blocks ordinary ids such as {_NOT_ODD[0]}, so nobody would ever be linked; make it narrower"
    return None

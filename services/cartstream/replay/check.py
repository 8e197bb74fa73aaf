"""What would become of each record of a file: accepted, repaired or refused, by the very code that the services decide with.

A verdict says reasons and places, never content: no address, id or token of the file is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from cartstream.errors import Refused
from cartstream.events import clicks, topics
from cartstream.events.formats.files import records
from cartstream.events.formats.native import Headers, Incoming, Translate
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.rules import load_rules
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.stage import IdentityStage
from cartstream.identity.step import IdentityEvent
from cartstream.runtime.clock import Clock
from cartstream.runtime.stage import Record, Several


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    REPAIRED = "repaired"
    REFUSED = "refused"


class Verdict(NamedTuple):
    """On one record. `events` go on, also from one that is refused in part; `reasons` are of `events.repairs`, or why it is refused."""

    line: int
    outcome: Outcome
    events: int
    reasons: tuple[str, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        said = f"line {self.line}: {self.outcome}"
        if self.reasons:
            said += f" ({', '.join(self.reasons)})"
        if self.outcome != Outcome.REFUSED or self.events:
            said += f", {self.events} {'event' if self.events == 1 else 'events'}" + (
                " of it kept" if self.outcome == Outcome.REFUSED else ""
            )
        return said + (f": {self.detail}" if self.detail else "")


class Check:
    """Of one format. `clock` None: any time of our age will do; else event times are judged as if the records came now."""

    def __init__(self, settings: IdentitySettings, translate: Translate | None, clock: Clock | None = None) -> None:
        self._identity = IdentityStage(settings, MemoryDirectory(rules=load_rules(settings.identity_rules or None)), clock, translate)

    def file(self, path: Path) -> Iterator[Verdict]:
        """Raises ConfigError, and Unavailable for a registry that does not answer."""
        for number, incoming in records(path):
            yield self.verdict(number, incoming)

    def verdict(self, line: int, incoming: Incoming) -> Verdict:
        events, refused = self._events(line, incoming)
        repairs = list(self._identity.take_repairs())
        good = 0
        for event in events:
            try:
                repairs += self._read(event)
                good += 1
            except Refused as again:
                refused = refused or again
        if refused is not None:
            return Verdict(line, Outcome.REFUSED, good, (refused.reason,), refused.detail)
        return Verdict(line, Outcome.REPAIRED if repairs else Outcome.ACCEPTED, good, tuple(dict.fromkeys(repairs)))

    def _events(self, line: int, incoming: Incoming) -> tuple[Sequence[IdentityEvent], Refused | None]:
        try:
            return [self._identity.decode(Record(topics.CLICKSTREAM, 0, line, incoming.key, incoming.value, _Kept(incoming)))], None
        except Several as several:
            return several.events, several.refused
        except Refused as refused:
            return [], refused

    def _read(self, event: IdentityEvent) -> tuple[str, ...]:
        """What sessions mend in what identity passes on: of a correction nothing. Raises Refused."""
        if not event.forward:
            return ()
        click = clicks.decode_click(event.forward)
        clicks.time_of(click.timestamp, event.forward)
        return click.repairs if isinstance(click, clicks.RepairedClick) else ()


class _Kept:
    """What a file says of a record beside its bytes, as Kafka's own message would."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def headers(self) -> list[tuple[str, bytes | None]]:
        given: Headers = self._incoming.headers
        return list(given)

    def timestamp(self) -> tuple[int, int]:
        return 1, self._incoming.at

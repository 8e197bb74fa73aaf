"""Labelled sessions out of recorded activity: what was known at each exit hint, and whether the shopper then bought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from cartstream.detection.exit_intent import bought, dwell_of
from cartstream.detection.intent.live import live_features
from cartstream.detection.intent.model import Value
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import DetectionState, Found, copy_of
from cartstream.detection.step import advance, step
from cartstream.errors import ConfigError
from cartstream.events.records import Activity, Session
from cartstream.events.times import MINUTE, EventTime, parse_iso

LATENESS_MS = 5 * MINUTE
_TIMES = frozenset({"at", "started_at", "ended_at", "last_activity", "version"})


@dataclass(frozen=True, slots=True)
class Moment:
    """An exit hint, with what was known by then; `bought` afterwards, in the same session."""

    customer_id: str
    features: dict[str, Value]
    bought: bool


@dataclass(slots=True)
class _Waiting:
    at: EventTime
    orders: int
    features: dict[str, Value]


@dataclass(slots=True)
class Labelling:
    """Takes activities in their order on the topic. Exits that detection would not judge (too early, bought already) are passed over;
    `unfinished` are those whose session's end has not come."""

    settings: DetectionSettings
    latest: EventTime = 0
    passed_over: int = 0
    _states: dict[str, DetectionState] = field(default_factory=dict)
    _waiting: dict[str, list[_Waiting]] = field(default_factory=dict)
    _orders: dict[str, list[EventTime]] = field(default_factory=dict)

    @property
    def unfinished(self) -> int:
        return sum(map(len, self._waiting.values()))

    def take(self, activity: Activity) -> list[Moment]:
        """The moments whose outcome is known now."""
        if activity.kind == "exit_signal":
            self._exit(activity)
            return []
        self.latest = max(self.latest, activity.at)
        after = step(self._states.get(activity.customer_id), activity, self.latest - LATENESS_MS, self.settings).state
        if after is not None:
            self._states[activity.customer_id] = after
        if activity.kind == "order_placed":
            self._orders.setdefault(activity.customer_id, []).append(activity.at)
        return self._ended(activity, activity.session) if activity.kind == "session_ended" and activity.session else []

    def _exit(self, activity: Activity) -> None:
        hint, session = activity.exit, activity.session
        if hint is None or session is None:
            self.passed_over += 1
            return
        state = self._states.get(activity.customer_id) or DetectionState(activity.customer_id)
        known = advance(copy_of(state), activity.at, self.settings, Found())
        if bought(known, session) or dwell_of(hint, activity, session) < self.settings.exit_armed_after_ms:
            self.passed_over += 1
            return
        waiting = _Waiting(activity.at, session.orders, live_features(known, activity, hint, session))
        self._waiting.setdefault(session.session_id, []).append(waiting)

    def _ended(self, activity: Activity, session: Session) -> list[Moment]:
        """An order on any device until the session ended counts."""
        orders = [at for at in self._orders.get(activity.customer_id, []) if at <= session.ended_at]
        return [
            Moment(activity.customer_id, one.features, session.orders > one.orders or any(at > one.at for at in orders))
            for one in self._waiting.pop(session.session_id, [])
        ]


def activities(lines: Iterable[bytes | str], where: str) -> Iterator[Activity]:
    """Lines of JSON, as `cartstream replay run` writes `activity.jsonl`; times in ISO 8601 or in ms. Raises ConfigError with the line."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield msgspec.convert(_timed(orjson.loads(line)), Activity)
            except (orjson.JSONDecodeError, msgspec.ValidationError, ValueError) as error:
                raise ConfigError(f"{where}, line {number}: not an activity ({error}); give the activity.jsonl of a replay") from error


def _timed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _time(entry) if name in _TIMES else _timed(entry) for name, entry in value.items()}
    return [_timed(entry) for entry in value] if isinstance(value, list) else value


def _time(value: Any) -> Any:
    if isinstance(value, str):
        return parse_iso(value)
    return 0 if value is None else value

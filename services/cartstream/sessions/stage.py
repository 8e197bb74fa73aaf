"""Sessions as the runtime runs them."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from cartstream.errors import Refused
from cartstream.events import avro, clicks, topics
from cartstream.events.clicks import Action
from cartstream.events.records import Customer, Handover, Merge, Split
from cartstream.events.times import DAY, SECOND, EventTime
from cartstream.runtime.stage import Record, Step
from cartstream.sessions import layouts
from cartstream.sessions.handover import SERVICE
from cartstream.sessions.incoming import ClickEvent, ControlEvent, Event, RepairedEvent
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.state import CustomerState
from cartstream.sessions.step import step, wake
from cartstream.sessions.visits import SessionRules

_JSON = ord("{")


class SessionsStage:
    """Reads the identified clickstream, writes activity."""

    name = SERVICE
    source = topics.IDENTIFIED
    sinks: tuple[str, ...] = (topics.ACTIVITY,)

    def __init__(self, settings: SessionsSettings) -> None:
        self.rules = SessionRules(settings.session_gap_s * SECOND, settings.session_limit_s * SECOND, settings.keep_idle_days * DAY)
        # Called for every record: C code, not a method.
        self.key_of: Callable[[Event], str] = attrgetter("customer_id")
        self.encode_state: Callable[[CustomerState], bytes] = layouts.encode_state
        self.decode_state: Callable[[bytes], CustomerState] = layouts.decode_state

    def decode(self, record: Record) -> Event:
        raw = record.value
        if not raw or raw[0] != _JSON:
            return _control(raw)
        try:
            customer_id = (record.key or b"").decode()
        except UnicodeDecodeError as error:
            raise Refused("missing_id", "the key is no customer") from error
        if not customer_id:
            raise Refused("missing_id", "an identified event without the customer as its key")
        click = clicks.decode_click(raw)
        message_id = click.message_id
        event = ClickEvent(
            customer_id,
            click.anonymous_id or clicks.device_of(None, click.user_id),
            clicks.time_of(click.timestamp, raw),
            message_id if message_id and len(message_id) <= clicks.MAX_ID else clicks.message_id_of(None, raw),
            _action(click),
            click,
            raw,
        )
        return event if click.__class__ is clicks.Click else _repaired(event)

    def step(self, state: CustomerState | None, event: Event, watermark: EventTime) -> Step[CustomerState]:
        return step(state, event, watermark, self.rules)

    def wake(self, state: CustomerState, watermark: EventTime) -> Step[CustomerState]:
        return wake(state, watermark, self.rules)


_OTHER, _SILENT = Action.OTHER, Action.SILENT
_ACTION_OF_TYPE = {"page": Action.PAGE, "screen": Action.PAGE, "identify": _OTHER}


def _action(click: clicks.Click) -> Action:
    if click.type == "track":
        return clicks.ACTIONS.get(click.event or "", _OTHER)
    return _ACTION_OF_TYPE.get(click.type, _SILENT)


def _repaired(event: ClickEvent) -> RepairedEvent:
    click = event.click
    repairs = click.repairs if isinstance(click, clicks.RepairedClick) else ()
    return RepairedEvent(event.customer_id, event.device_id, event.at, event.message_id, event.action, click, event.raw, repairs)


def _control(raw: bytes) -> ControlEvent:
    record = avro.codec().decode(raw)
    match record:
        case Customer() | Split():
            return ControlEvent(record.customer_id, record)
        case Merge():
            return ControlEvent(record.loser, record)
        case Handover():
            return ControlEvent(record.survivor, record)
    raise Refused("wrong_schema", f"a {type(record).__name__} has no place on {topics.IDENTIFIED}")

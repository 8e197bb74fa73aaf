"""Journeys as the runtime runs them."""

from __future__ import annotations

from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.records import ChannelFailed, Customer, Handover, Merge, Signal, Split
from cartstream.events.times import EventTime
from cartstream.journeys import state as states
from cartstream.journeys.definition import Journeys
from cartstream.journeys.settings import JourneysSettings
from cartstream.journeys.state import JourneyState
from cartstream.journeys.step import SERVICE, Event, Rules, step, wake
from cartstream.runtime.stage import Record, Step


class JourneysStage:
    """Reads signals, writes decisions and commands."""

    name = SERVICE
    source = topics.SIGNALS
    sinks: tuple[str, ...] = ()

    def __init__(self, settings: JourneysSettings, journeys: Journeys) -> None:
        self.rules = Rules(journeys, settings.keep_ms)

    def decode(self, record: Record) -> Event:
        value = avro.codec().decode(record.value)
        if not isinstance(value, (Signal, Customer, ChannelFailed, Merge, Handover, Split)):
            raise Refused("wrong_schema", f"a {type(value).__name__} has no place on {topics.SIGNALS}")
        return value

    def key_of(self, event: Event) -> str:
        if isinstance(event, Merge):
            return event.loser
        return event.survivor if isinstance(event, Handover) else event.customer_id

    def step(self, state: JourneyState | None, event: Event, watermark: EventTime) -> Step[JourneyState]:
        return step(state, event, watermark, self.rules)

    def wake(self, state: JourneyState, watermark: EventTime) -> Step[JourneyState]:
        return wake(state, watermark, self.rules)

    def encode_state(self, state: JourneyState) -> bytes:
        return states.encode_state(state)

    def decode_state(self, raw: bytes) -> JourneyState:
        return states.decode_state(raw)

"""Detection as the runtime runs it."""

from __future__ import annotations

from cartstream.detection import state as states
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import DetectionState
from cartstream.detection.step import SERVICE, Event, step, wake
from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.records import Activity, Customer, Handover, Merge
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Record, Step


class DetectionStage:
    """Reads activity, writes signals."""

    name = SERVICE
    source = topics.ACTIVITY
    sinks: tuple[str, ...] = (topics.SIGNALS,)

    def __init__(self, settings: DetectionSettings) -> None:
        self.settings = settings

    def decode(self, record: Record) -> Event:
        value = avro.codec().decode(record.value)
        if not isinstance(value, (Activity, Customer, Merge, Handover)):
            raise Refused("wrong_schema", f"a {type(value).__name__} has no place on {topics.ACTIVITY}")
        return value

    def key_of(self, event: Event) -> str:
        if isinstance(event, Merge):
            return event.loser
        return event.survivor if isinstance(event, Handover) else event.customer_id

    def step(self, state: DetectionState | None, event: Event, watermark: EventTime) -> Step[DetectionState]:
        return step(state, event, watermark, self.settings)

    def wake(self, state: DetectionState, watermark: EventTime) -> Step[DetectionState]:
        return wake(state, watermark, self.settings)

    def encode_state(self, state: DetectionState) -> bytes:
        return states.encode_state(state)

    def decode_state(self, raw: bytes) -> DetectionState:
        return states.decode_state(raw)

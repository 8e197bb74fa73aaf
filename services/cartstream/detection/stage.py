"""Detection as the runtime runs it."""

from __future__ import annotations

from typing import Any

import msgspec

from cartstream.detection import notes, product
from cartstream.detection import state as states
from cartstream.detection.notes import Change
from cartstream.detection.product import ProductState
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import DetectionState
from cartstream.detection.step import SERVICE, Event, step, wake
from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.records import Activity, Customer, Handover, Merge, Note, Product, Split
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Record, Step

State = DetectionState | ProductState


class ProductEvent(msgspec.Struct, gc=False):
    """Something for a product's state, or for a page of it."""

    key: str
    at: EventTime
    body: notes.Watch | notes.Spill | notes.Heard | Change


class DetectionStage:
    """Reads activity, writes signals. Keeps customers, and under keys of their own the products that they wait for."""

    name = SERVICE
    source = topics.ACTIVITY
    sinks: tuple[str, ...] = (topics.SIGNALS,)

    def __init__(self, settings: DetectionSettings) -> None:
        self.settings = settings

    def decode(self, record: Record) -> Event | ProductEvent:
        value = avro.codec().decode(record.value)
        if isinstance(value, Product):
            return ProductEvent(notes.product_key(value.product_id), value.at, notes.change_of(value))
        if isinstance(value, Note):
            return _of_note(value)
        if not isinstance(value, (Activity, Customer, Merge, Handover, Split)):
            raise Refused("wrong_schema", f"a {type(value).__name__} has no place on {topics.ACTIVITY}")
        return value

    def key_of(self, event: Event | ProductEvent) -> str:
        if isinstance(event, Merge):
            return event.loser
        if isinstance(event, (ProductEvent, Note)):
            return event.key
        return event.survivor if isinstance(event, Handover) else event.customer_id

    def step(self, state: State | None, event: Event | ProductEvent, watermark: EventTime) -> Step[Any]:
        if isinstance(event, ProductEvent):
            assert not isinstance(state, DetectionState)
            return _of_product(state, event, self.settings)
        assert not isinstance(state, ProductState)
        return step(state, event, watermark, self.settings)

    def wake(self, state: State, watermark: EventTime) -> Step[Any]:
        return product.wake(state, watermark) if isinstance(state, ProductState) else wake(state, watermark, self.settings)

    def encode_state(self, state: State) -> bytes:
        return product.encode_product(state) if isinstance(state, ProductState) else states.encode_state(state)

    def decode_state(self, raw: bytes) -> State:
        return product.decode_product(raw) if product.is_product(raw) else states.decode_state(raw)


def _of_note(note: Note) -> Note | ProductEvent:
    if note.service != SERVICE:
        raise Refused("wrong_schema", f"a note of {note.service} has no place on {topics.ACTIVITY}")
    try:
        body = notes.body_of(note)
    except msgspec.MsgspecError as error:
        raise Refused("wrong_schema", "not a note of detection") from error
    return note if isinstance(body, notes.News) else ProductEvent(note.key, note.at, body)


def _of_product(state: ProductState | None, event: ProductEvent, settings: DetectionSettings) -> Step[ProductState]:
    match event.body:
        case notes.Watch() as watch:
            return product.watched(state, event.at, watch)
        case notes.Spill() as spill:
            return product.spilt(spill.product_id, spill.watchers)
        case notes.Heard() as heard:
            return product.heard(state, heard.change)
        case change:
            if state is None and not settings.watch_products:
                return Step(None, changed=False, outcomes=[("product", "not_watched")])
            return product.changed(state, event.key.partition(":")[2], change)

"""What a customer's partition is told, one record at a time."""

from __future__ import annotations

import msgspec

from cartstream.events.clicks import Action, Click
from cartstream.events.records import Customer, Handover, Merge, Split
from cartstream.events.times import EventTime


class ClickEvent(msgspec.Struct, gc=False):
    """A click of a known customer. `raw` is what to pass on if the customer turns out to be merged."""

    customer_id: str
    device_id: str
    at: EventTime
    message_id: str
    action: Action
    click: Click
    raw: bytes


class RepairedEvent(ClickEvent, gc=False):
    """A click with something mended or left out. `repairs`: why, of `events.properties.PROPERTY_REPAIRS`."""

    repairs: tuple[str, ...] = ()


class ControlEvent(msgspec.Struct, gc=False):
    """What identity, or another partition, says of a customer."""

    customer_id: str
    record: Customer | Merge | Handover | Split


Event = ClickEvent | ControlEvent

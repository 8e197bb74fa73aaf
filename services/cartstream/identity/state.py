"""What identity keeps of one device, in the partition where its events arrive."""

from __future__ import annotations

import msgspec

from cartstream.events.records import make_id
from cartstream.events.times import EventTime


class DeviceState(msgspec.Struct, array_like=True):
    """`customer_id` gets the device's anonymous events. `links` has the customer of each identifier seen on it.

    `linked_at` is the latest event that told an identifier: an earlier one is told to the directory too.
    A device with two logins is `shared`: its anonymous events belong to nobody who is known.
    """

    device_id: str
    customer_id: str
    first_seen: EventTime
    seen_at: EventTime
    links: dict[str, str] = {}
    shared: bool = False
    linked_at: EventTime = 0


def anonymous_customer(device_id: str) -> str:
    """The customer that a device is until somebody is known on it."""
    return "c_" + make_id("device", device_id)[:24]


def shared_customer(device_id: str) -> str:
    return "c_" + make_id("shared", device_id)[:24]

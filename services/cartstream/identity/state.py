"""What identity keeps of one device, in the partition where its events arrive."""

from __future__ import annotations

from collections.abc import Container, Mapping

import msgspec

from cartstream.events.records import make_id
from cartstream.events.times import EventTime


class DeviceState(msgspec.Struct, array_like=True):
    """`customer_id` gets the device's anonymous events. `links` has the customer of each identifier seen on it.

    `linked_at` is the latest event that told an identifier: an earlier one is told to the directory too.
    A device with two logins is `shared`: its anonymous events belong to nobody who is known.
    A device of a customer who was erased says in `links`, under no name, when: what happened on it up to then is nobody's.
    """

    device_id: str
    customer_id: str
    first_seen: EventTime
    seen_at: EventTime
    links: dict[str, str] = {}
    shared: bool = False
    linked_at: EventTime = 0


def anonymous_customer(device_id: str, erased_at: EventTime = 0) -> str:
    """The customer that a device is until somebody is known on it; another one after each erasure."""
    return "c_" + make_id("device", device_id, *([erased_at] if erased_at else []))[:24]


def shared_customer(device_id: str) -> str:
    return "c_" + make_id("shared", device_id)[:24]


_ERASED_AT = ""


def erased_at(state: DeviceState) -> EventTime:
    """0: never."""
    return int(state.links.get(_ERASED_AT, 0))


def after_erasure(state: DeviceState, gone: Container[str], at: EventTime) -> bool:
    """Take what was of the customers who are `gone` since `at` out of the state. False: nothing was."""
    links = {name: owner for name, owner in state.links.items() if owner not in gone}
    if state.customer_id in gone:
        at = max(at, erased_at(state))
        links[_ERASED_AT] = str(at)
        state.customer_id, state.first_seen, state.seen_at = anonymous_customer(state.device_id, at), at + 1, max(at, state.seen_at)
    elif len(links) == len(state.links):
        return False
    state.links = links
    return True


def after_unlink(state: DeviceState, places: Mapping[str, str]) -> bool:
    """Go by whose each identifier is now. What is not the device's customer's any more is asked about again when it is told."""
    home = state.customer_id if state.shared else places.get(f"device:{state.device_id}", state.customer_id)
    links = {name: owner for name, owner in state.links.items() if name not in places}
    links |= {name: places[name] for name in state.links if name in places and places[name] == home}
    if (home, links) == (state.customer_id, state.links):
        return False
    state.customer_id, state.links = home, links
    return True

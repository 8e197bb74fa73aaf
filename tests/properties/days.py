"""Days of shopping to try the pipeline on, and how their events may arrive."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.pipeline.shop import HOUR, LATENESS, MINUTE, SECOND, Event, Partial, event

OWNER = {"d1": "ann", "d2": "ann", "d3": "bob", "d4": "bob"}
DEVICES = list(OWNER)
MOST = 30
PAUSES = [0, 1, SECOND, 4 * SECOND, 20 * SECOND, 10 * MINUTE, 29 * MINUTE, 31 * MINUTE, 2 * HOUR]
BROWSING = ["page", "Product Viewed", "Product Viewed"]
CHANGES = ["Product Added", "Product Added", "Product Added", "Product Removed", "Cart Viewed", "Checkout Started", "Order Completed"]
CONSENT = {"email": True, "sms": True, "push": True}


class Arrival(NamedTuple):
    """How a day comes in: on so many partitions, in batches of so many that wake so many, so many events between two looks at the queues;
    how late each event is, within the lateness, and whether it comes twice."""

    partitions: int
    batch_size: int
    wakes: int
    every: int
    delays: list[int]
    twice: list[bool]


@st.composite
def days(draw: st.DrawFn, *, exits: bool = False) -> list[Event]:
    """In order of time; each device is one shopper's, and logins come first.

    An exit is answered with what has arrived. So where there are any, a cart is changed on one device only, and exits keep their distance.
    A purchase is passed on at once. So an order that is told twice is told by one device, the second time when the first must have arrived.
    """
    told: dict[str, tuple[str, int]] = {}
    events = [event(device, n * MINUTE, "identify", OWNER[device], **_fields(draw, "identify", device)) for n, device in enumerate(DEVICES)]
    at = HOUR
    for _ in range(draw(st.integers(1, MOST - len(DEVICES)))):
        name = draw(st.sampled_from([*BROWSING, *CHANGES, *(["Exit Intent"] if exits else [])]))
        alone = exits and name not in BROWSING
        device = draw(st.sampled_from(["d1", "d3"] if alone else DEVICES))
        at += draw(st.sampled_from(PAUSES)) + (2 * LATENESS + 1 if alone else 0)
        user = OWNER[device] if draw(st.booleans()) else None
        number = len(events)
        fields = _fields(draw, name, device)
        if name == "Order Completed":
            by, before = told.get(fields["order_id"], (device, -HOUR))
            if by != device or at - before <= LATENESS:
                fields["order_id"] += f"-{number}"
            told[fields["order_id"]] = device, at
        events.append(event(device, at, name, user, number, **fields))
        at += 2 * LATENESS + 1 if alone else 0
    return events


def _fields(draw: st.DrawFn, name: str, device: str) -> dict[str, Any]:
    product = draw(st.sampled_from("abc"))
    match name:
        case "identify":
            return {"email": f"{OWNER[device]}@example.test", "consent": CONSENT, "timezone": "Europe/Berlin"}
        case "Exit Intent":
            return {"trigger": "pointer_top_exit", "dwell_ms": 30_000}
        case "Order Completed":
            return {"order_id": f"o-{product}", "products": [{"product_id": product}] if product != "c" else None}
        case "Cart Viewed":
            return {"products": [{"product_id": product, "quantity": 2}] if product != "c" else []}
        case "Product Removed":
            return {"product_id": product, "quantity": 1 if draw(st.booleans()) else None}
    return {"product_id": product, "price": 20.0, "currency": "EUR"} if name.startswith("Product") else {}


def arrivals(*, lateness: int = LATENESS) -> st.SearchStrategy[Arrival]:
    return st.builds(
        Arrival,
        st.sampled_from([1, 3, 8]),
        st.sampled_from([1, 7, 1_000]),
        st.sampled_from([1, 3, 5_000]),
        st.sampled_from([1, 7, 1_000]),
        st.lists(st.integers(0, lateness), min_size=MOST, max_size=MOST),
        st.lists(st.booleans(), min_size=MOST, max_size=MOST),
    )


IN_ORDER = Arrival(1, 1_000, 5_000, 1, [0] * MOST, [False] * MOST)


def outcome(events: list[Event], arrival: Arrival = IN_ORDER) -> dict[str, list[bytes]]:
    """What the whole pipeline published of the day. The logins come in order, each by itself."""
    shop = Partial(arrival.partitions, arrival.batch_size, arrival.wakes)
    for login in events[: len(DEVICES)]:
        shop.click(login)
    came = [(entry[0] + arrival.delays[n], n) for n, entry in enumerate(events)]
    came += [(entry[0] + LATENESS, n) for n, entry in enumerate(events) if arrival.twice[n]]
    ordered = [events[n] for _, n in sorted(came) if n >= len(DEVICES)]
    for start in range(0, len(ordered), arrival.every):
        shop.click(*ordered[start : start + arrival.every])
    shop.at(events[-1][0] + 60 * HOUR)
    return shop.outcome()

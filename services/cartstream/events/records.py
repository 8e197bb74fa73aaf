"""What flows between the services: one value type for each Avro schema in `schemas/`.

Every time is an `EventTime` (ms since the epoch, UTC). Every id is deterministic: the same input gives the same id, so a
repeated record can always be recognised. No record holds an address: contacts live in the vault, looked up when sending.
"""

from __future__ import annotations

import hashlib

import msgspec

from cartstream.events.times import EventTime


def make_id(*parts: object) -> str:
    """32 hex characters that depend on nothing but the parts, in order. Parts must not contain U+001F."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a cart. `price` is for one piece, in the cart's currency."""

    product_id: str
    quantity: int
    price: float | None = None
    name: str | None = None


class Cart(msgspec.Struct, frozen=True):
    """A cart after a change. `version` is the event time of its last effective change: it identifies this content."""

    version: EventTime
    items: list[Item]
    value: float
    currency: str | None = None


class Session(msgspec.Struct, frozen=True):
    """One device's visit. `ended_at` is the time of its last event (its last so far while it is open). `orders` is how often an order was
    told in it: one that browser and server tell counts for each."""

    session_id: str
    device_id: str
    started_at: EventTime
    ended_at: EventTime
    events: int
    orders: int
    page_views: int
    viewed: list[str]
    """The last products looked at, newest last, bounded."""
    product_views: int = 0


class Look(msgspec.Struct, frozen=True):
    """A product that the customer looked at: when last and at what price, and how often in the seven days before this is told."""

    product_id: str
    at: EventTime
    views: int
    price: float | None = None
    currency: str | None = None


class Habits(msgspec.Struct, frozen=True):
    """What the customer did lately, on all devices. Every list is bounded.

    `recent` has the last products looked at, newest last; `price_low` to `price_high`, in `currency`, is what they cost. `visits` is in how
    many hours of the last four weeks a visit began: 0 is a new visitor; `hours` are those hours of the day (UTC), the most usual first.
    `searches` are the last search terms, newest last.
    """

    recent: list[Look]
    visits: int
    price_low: float | None = None
    price_high: float | None = None
    currency: str | None = None
    hours: list[int] = []
    searches: list[str] = []


class ExitHint(msgspec.Struct, frozen=True):
    """What the browser noticed: trigger is pointer_top_exit, tab_hidden, back_press, scroll_up_fast or idle. `device` is the kind of
    device, one of `devices.KINDS`, as far as the hint's own event says."""

    trigger: str
    dwell_ms: int | None = None
    scroll_pct: float | None = None
    device: str | None = None


class Order(msgspec.Struct, frozen=True):
    """A purchase. `product_ids` is empty when the order names no products: then the whole cart was bought."""

    order_id: str | None
    value: float | None
    currency: str | None
    product_ids: list[str]


class Activity(msgspec.Struct, frozen=True):
    """What a shopper did that others act on (topic `activity`, key customer_id).

    kind: session_started, session_ended, product_viewed, cart_updated, cart_emptied, checkout_started, exit_signal,
    order_placed, retracted. `last_activity` is the latest event time of any of the customer's devices known so far; `cart` is the
    cart after the event (None when empty). A session_started or session_ended is about its session alone: `last_activity` is the
    session's, `cart` None; of the others only an exit_signal has a session, as it is known by then. `habits` come with a session_ended, the
    session included, and with an exit_signal, as they are known by then: the visits before, and the looks of this one.

    Until the watermark has passed, what was told may turn out otherwise: an earlier event came later. It is told again under the same id,
    and the last one told counts; retracted: nothing came of it after all.
    """

    id: str
    kind: str
    customer_id: str
    at: EventTime
    last_activity: EventTime
    device_id: str | None = None
    session: Session | None = None
    cart: Cart | None = None
    exit: ExitHint | None = None
    order: Order | None = None
    habits: Habits | None = None


class ProductChange(msgspec.Struct, frozen=True):
    """What became of a product that a shopper wants. Prices are for one piece; `previous_price` is what the shopper last knew."""

    product_id: str
    price: float | None = None
    previous_price: float | None = None
    currency: str | None = None
    name: str | None = None


class Signal(msgspec.Struct, frozen=True):
    """What journeys decide on (topic `signals`, key customer_id).

    kind: exit_intent, cart_abandoned, checkout_abandoned, browse_abandoned, cart_recovered, price_dropped, back_in_stock,
    product_changed (what one of these two said holds no longer), shopper_returned, shopper_idle, cart_updated, cart_emptied,
    order_placed (told at once, with nothing but the order). For abandonments `at` is when it became true, `last_activity` what the
    steps' delays count from, and `episode` what identifies it (the cart version, the session for exit and browse, product and time for a
    product's change). `amount` is what a recovery brought, in the order's currency, or without a sum in the order the cart's value in
    the cart's.
    """

    id: str
    kind: str
    customer_id: str
    at: EventTime
    last_activity: EventTime
    episode: str | None = None
    cart: Cart | None = None
    order: Order | None = None
    session_id: str | None = None
    viewed: list[str] = []
    score: float | None = None
    contributions: dict[str, float] = {}
    amount: float | None = None
    product: ProductChange | None = None


class Decision(msgspec.Struct, frozen=True):
    """Every yes and every no of the journeys, with its reason (topic `decisions`, key customer_id).

    outcome: entered, not_entered, sent, suppressed, deferred, held, stopped, finished, wrong_send_detected (the message of `command_id` had
    been sent when a purchase before it became known). `rule` names what decided; `inputs` what it looked at; `allowed_at` when the same
    thing would be allowed.
    """

    id: str
    customer_id: str
    at: EventTime
    journey: str
    outcome: str
    rule: str
    step: str | None = None
    channel: str | None = None
    episode: str | None = None
    command_id: str | None = None
    signal_id: str | None = None
    allowed_at: EventTime | None = None
    inputs: dict[str, str] = {}


class Command(msgspec.Struct, frozen=True):
    """Send one message (topics `commands.<channel>`, key customer_id). Never an address.

    `guard` says what the sender re-reads at the last moment: `purchase` (stop if the customer's last order is later than
    `order_mark`), `cart` (as purchase, and stop if the cart is empty or bought). `at` is when the message became due.
    """

    command_id: str
    customer_id: str
    channel: str
    journey: str
    step: str
    template: str
    at: EventTime
    expires_at: EventTime
    guard: str
    order_mark: EventTime
    cart: Cart | None = None
    viewed: list[str] = []
    offer: str | None = None
    locale: str | None = None
    cause_at: EventTime = 0
    """Event time of the click behind it: the start of the end-to-end latency."""
    product: ProductChange | None = None
    """What the message is about, where a product's price or stock is behind it."""


class Delivery(msgspec.Struct, frozen=True):
    """What became of a command (topic `deliveries`, key customer_id).

    status: accepted, suppressed, expired, unreachable, failed, ambiguous. `reason` is the provider's class or the guard that stopped it.
    """

    id: str
    command_id: str
    customer_id: str
    channel: str
    journey: str
    step: str
    at: EventTime
    status: str
    reason: str | None = None
    provider_id: str | None = None
    attempts: int = 0


class Identifier(msgspec.Struct, frozen=True, order=True):
    """`type` is user_id, email, phone, loyalty_id or push; e-mail, phone and push values are keyed hashes."""

    type: str
    value: str


class Customer(msgspec.Struct, frozen=True):
    """What is known of a customer, without any address (topic `customers`, compacted; also carried along the chain)."""

    customer_id: str
    at: EventTime
    consent: dict[str, bool] = {}
    timezone: str | None = None
    locale: str | None = None
    channels: list[str] = []
    identifiers: list[Identifier] = []
    devices: list[str] = []
    merged_into: str | None = None

    @property
    def erased(self) -> bool:
        """It says nothing any more: whatever is kept of the customer is to be forgotten."""
        return self.merged_into is None and not (self.identifiers or self.devices or self.channels or self.consent)


class Merge(msgspec.Struct, frozen=True):
    """Two customers turned out to be one (topic `identity.merges`, and along the chain keyed by the loser)."""

    loser: str
    survivor: str
    at: EventTime
    event_id: str
    identifier_type: str


class RefusedLink(msgspec.Struct, frozen=True):
    """An identifier that an event told and that did not become the customer's (topic `identity.audit`, key customer_id).

    `identifier` is a keyed hash, also of a user id or device. reason: unique (two values are two people), limit, devices, merges, or
    unlinked (an operator said so, and the event is older); `limited` is the type that there would be too many of. `holder` is the other
    customer whose the identifier is. `late`: the
    customers that it would have joined are, in part, what later events made them, so in order of event time it might have been let in.
    """

    id: str
    customer_id: str
    at: EventTime
    event_id: str
    identifier_type: str
    identifier: str
    reason: str
    limited: str
    holder: str | None = None
    late: bool = False


class CorrectedCustomer(msgspec.Struct, frozen=True):
    """What an operator had done with a customer (topic `identity.audit`, key customer_id).

    kind: erased, unlinked. `event_id` is the command's; `identifier` is a keyed hash of what it named, also of a user id or device.
    `identifiers` and `devices` is how many of the customer's it was about. `into`: whose what was unlinked is now.
    """

    id: str
    customer_id: str
    at: EventTime
    event_id: str
    kind: str
    identifier_type: str
    identifier: str
    identifiers: int
    devices: int
    into: str | None = None


class Split(msgspec.Struct, frozen=True):
    """Some of what a customer did was somebody else's, and nothing says which: nobody is reminded of it (along the chain)."""

    customer_id: str
    at: EventTime
    event_id: str


class Handover(msgspec.Struct, frozen=True):
    """The loser's state of one service on its way to the survivor (along the chain, keyed by the survivor)."""

    service: str
    loser: str
    survivor: str
    at: EventTime
    state: bytes


class Watermark(msgspec.Struct, frozen=True):
    """`source` promises: I shall send nothing that happened at or before `at`. A reader waits for all `sources`."""

    source: str
    sources: int
    at: EventTime


class ChannelFailed(msgspec.Struct, frozen=True):
    """A sender learnt that a channel no longer reaches a customer (on `signals`). reason: recipient_dead or opted_out."""

    customer_id: str
    channel: str
    reason: str
    at: EventTime


class Product(msgspec.Struct, frozen=True):
    """A product of the shop from `at` on (topic `products`, key product_id). None: not said, as it was.

    The retailer writes all but the last two. The products service passes it on to every partition of `activity` if price or stock are
    new, with what they were before.
    """

    product_id: str
    at: EventTime
    price: float | None = None
    currency: str | None = None
    available: bool | None = None
    name: str | None = None
    previous_price: float | None = None
    previous_available: bool | None = None


class Note(msgspec.Struct, frozen=True):
    """What one key of a service tells another one in the same partition (on its source topic). `body` is the service's own affair."""

    service: str
    key: str
    at: EventTime
    body: bytes

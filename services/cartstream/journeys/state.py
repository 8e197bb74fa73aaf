"""What journeys keep of one customer."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from cartstream.events import topics
from cartstream.events.records import Cart, ChannelFailed, Customer, Decision, ProductChange, Signal, make_id
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output

PENDING_LIMIT = 256
ORDERED_LIMIT = 100
HISTORY_LIMIT = 128


class Profile(msgspec.Struct, array_like=True):
    """The customer record in force."""

    at: EventTime
    consent: dict[str, bool] = {}
    channels: list[str] = []
    timezone: str | None = None
    locale: str | None = None


class Failed(msgspec.Struct, array_like=True):
    reason: str
    at: EventTime


class Sent(msgspec.Struct, array_like=True, frozen=True):
    """A message decided on. `about` is when what it speaks of was last done: the cart's last change, or the last look. 0: not known, and
    so is `signal_id`, or the step's guard does not ask for purchases."""

    at: EventTime
    channel: str
    journey: str
    episode: str
    step: str
    about: EventTime = 0
    signal_id: str | None = None
    command_id: str | None = None


class Entered(msgspec.Struct, array_like=True, frozen=True):
    """A journey is entered once an episode."""

    at: EventTime
    journey: str
    episode: str


class Entry(msgspec.Struct, array_like=True):
    """A customer on a journey. Delays count from `last_activity`, but no step comes before `ready_at`.

    `held_at` is when the shopper came back (0: is away), `deferred_until` when the next step may be tried again, `done` the steps decided.
    """

    journey: str
    episode: str
    signal_id: str
    at: EventTime
    last_activity: EventTime
    ready_at: EventTime
    cart: Cart | None = None
    viewed: list[str] = []
    done: list[str] = []
    held_at: EventTime = 0
    deferred_until: EventTime = 0
    product: ProductChange | None = None


class Waiting(msgspec.Struct, array_like=True):
    """A record that the watermark has not passed yet: one of the three."""

    at: EventTime
    rank: int
    id: str
    signal: Signal | None = None
    customer: Customer | None = None
    failure: ChannelFailed | None = None


class JourneyState(msgspec.Struct, array_like=True):
    """What waits for the watermark (`pending`, by time), and what all that the watermark has passed adds up to.

    `wrong_sends` are the commands told as such. A customer that was merged keeps only `merged_into`.
    """

    customer_id: str
    pending: list[Waiting] = []
    profile: Profile | None = None
    failed: dict[str, Failed] = {}
    order_mark: EventTime = 0
    ordered: dict[str, EventTime] = {}
    entries: list[Entry] = []
    sent: list[Sent] = []
    entered: list[Entered] = []
    applied_at: EventTime = 0
    merged_into: str | None = None
    wrong_sends: list[str] = []


# At the same millisecond consent comes first, then what stops, then what starts.
_RANKS = {
    "order_placed": 2,
    "cart_emptied": 3,
    "cart_updated": 4,
    "product_changed": 4,
    "cart_recovered": 5,
    "shopper_returned": 6,
    "shopper_idle": 8,
}
_STARTS = 7
OrderKey: TypeAlias = tuple[EventTime, int, str]


def waiting(event: Signal | Customer | ChannelFailed) -> Waiting:
    if isinstance(event, Signal):
        return Waiting(event.at, _RANKS.get(event.kind, _STARTS), event.id, signal=event)
    if isinstance(event, Customer):
        digest = make_id(
            sorted(event.consent.items()), event.channels, event.timezone, event.locale, len(event.identifiers), len(event.devices)
        )
        return Waiting(event.at, 0, digest, customer=event)
    return Waiting(event.at, 1, make_id(event.channel, event.reason, event.at), failure=event)


def order_key(record: Waiting) -> OrderKey:
    """Event order. Customer records of one millisecond stay as they came: the later one knows more."""
    return (record.at, record.rank, record.id if record.rank else "")


class Findings(msgspec.Struct):
    """What a step decides."""

    outputs: list[Output] = []
    outcomes: list[tuple[str, str]] = []

    def decide(self, decision: Decision) -> None:
        self.outputs.append(Output(topics.DECISIONS, decision.customer_id, decision))
        self.outcomes.append((decision.outcome, decision.rule))


def decision(
    state: JourneyState,
    at: EventTime,
    journey: str,
    outcome: str,
    rule: str,
    *,
    episode: str | None,
    signal_id: str | None,
    step: str | None = None,
    channel: str | None = None,
    command_id: str | None = None,
    allowed_at: EventTime | None = None,
    inputs: dict[str, str] | None = None,
) -> Decision:
    return Decision(
        id=make_id("decision", state.customer_id, journey, episode, step, outcome, rule, at),
        customer_id=state.customer_id,
        at=at,
        journey=journey,
        outcome=outcome,
        rule=rule,
        step=step,
        channel=channel,
        episode=episode,
        command_id=command_id,
        signal_id=signal_id,
        allowed_at=allowed_at,
        inputs=inputs or {},
    )


encode_state = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(JourneyState).decode


def copy_of(state: JourneyState) -> JourneyState:
    return decode_state(encode_state(state))

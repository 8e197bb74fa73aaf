"""One customer's signals, and what the journeys make of them."""

from __future__ import annotations

from typing import Any

import msgspec

from cartstream.events.records import Cart, Command, Customer, Decision, Item, Order, Signal, make_id
from cartstream.events.times import HOUR, MINUTE, EventTime, parse_iso
from cartstream.journeys import Journeys, JourneysSettings, JourneysStage, load_journeys
from cartstream.runtime.settings import load
from tests.detection.harness import END, Partition

NOON: EventTime = parse_iso("2024-03-13T12:00:00Z")
CHANNELS = ("email", "sms", "push")


def partition(journeys: Journeys | None = None) -> Partition:
    return Partition(JourneysStage(load(JourneysSettings), journeys or load_journeys()))


def customer(at: EventTime = NOON - HOUR, name: str = "ann", **fields: Any) -> Customer:
    """Reachable and willing on every channel, unless told otherwise."""
    known: dict[str, Any] = {"consent": dict.fromkeys(CHANNELS, True), "channels": list(CHANNELS), "devices": ["phone"], **fields}
    return Customer(name, at, **known)


def cart(version: EventTime = NOON, value: float = 20.0) -> Cart:
    return Cart(version, [Item("shoe", 1, value)], value, "EUR")


def signal(kind: str, at: EventTime, *, last: EventTime | None = None, name: str = "ann", **fields: Any) -> Signal:
    return Signal(make_id(kind, at, name), kind, name, at, at if last is None else last, **fields)


def abandoned(last: EventTime = NOON, kind: str = "cart_abandoned", version: EventTime | None = None, **fields: Any) -> Signal:
    """True half an hour after the last activity."""
    left = cart(last if version is None else version)
    return signal(kind, last + 30 * MINUTE, last=last, **{"episode": str(left.version), "cart": left, **fields})


def browsed(last: EventTime = NOON, episode: str = "visit", viewed: tuple[str, ...] = ("hat",), **fields: Any) -> Signal:
    return signal("browse_abandoned", last + 30 * MINUTE, last=last, episode=episode, viewed=list(viewed), **fields)


def leaving(at: EventTime = NOON, episode: str = "visit", **fields: Any) -> Signal:
    return signal("exit_intent", at, episode=episode, **{"cart": cart(), "session_id": episode, **fields})


def ordered(at: EventTime, *products: str, **fields: Any) -> Signal:
    return signal("order_placed", at, order=Order("o", 20.0, "EUR", list(products)), **fields)


def run(*values: msgspec.Struct, journeys: Journeys | None = None, until: EventTime = END) -> Partition:
    running = partition(journeys)
    running.feed(*values)
    running.advance(until)
    return running


def commands(running: Partition) -> list[Command]:
    """By due time."""
    sent = [command for channel in CHANNELS for command in running.published(f"commands.{channel}")]
    return sorted(sent, key=lambda command: (command.at, command.command_id))


def messages(running: Partition) -> list[tuple[str, str, str, float]]:
    """Journey, step, channel, hours after noon."""
    return [(c.journey, c.step, c.channel, (c.at - NOON) / HOUR) for c in commands(running)]


def decisions(running: Partition, outcome: str | None = None) -> list[Decision]:
    made = [decision for decision in running.published("decisions") if outcome in (None, decision.outcome)]
    return sorted(made, key=lambda decision: decision.at)


def rules(running: Partition, *outcomes: str) -> list[tuple[str, str]]:
    return [(d.journey, d.rule) for d in decisions(running) if d.outcome in outcomes]

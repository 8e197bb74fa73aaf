"""The traffic of a drill: shoppers from a seed, as the clickstream's records, and what is true of them.

Acts of one person come through one partition, whatever the device. The order in which identity hears of two devices decides whose
name a record carries until they are known to be one person (see docs/guarantees.md); kept still, every run must give the very same
records. Their carts, sessions and journeys still meet from other partitions of every later topic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from cartstream.demo.shoppers import HOURS, ORIGIN, crowd
from cartstream.events.adapters.recorded import event
from cartstream.events.placement import partition_of
from cartstream.events.times import HOUR, MINUTE, EventTime
from cartstream.fakes.push import subscription

PARTITIONS = 4
END = ORIGIN + HOURS * HOUR
FINAL = END + 72 * HOUR
"""The event time of the last words of a partition: everything that can become due has by then."""
NOW = FINAL + HOUR
"""What services are told the time is. It must not matter: only the first service asks, to refuse what lies ahead of it."""
_BAND = 2 * HOUR


@dataclass(frozen=True, slots=True)
class Click:
    """A record of the clickstream."""

    at: EventTime
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]] = field(default_factory=list)


class Deed(NamedTuple):
    """What somebody did: the name of a track event, or the type of another."""

    at: EventTime
    name: str
    message_id: str


@dataclass(slots=True)
class Truth:
    """Who did what, by what the events themselves say. `deeds` are by user, in order of time."""

    user_of: dict[str, str] = field(default_factory=dict)
    """By recipient, as a provider names it."""
    deeds: dict[str, list[Deed]] = field(default_factory=lambda: defaultdict(list))

    def bought_last(self, user: str, journey: str, due: EventTime) -> bool:
        """Whether the last thing before `due` that a message of the journey may be about was bought."""
        about = _OF_PRODUCTS if journey in ("browse_abandonment", "exit_intent") else _OF_CARTS
        deeds = self.deeds[user]
        before = deeds[: bisect_right(deeds, due, key=lambda deed: deed.at)]
        return next((deed.name == ORDER for deed in reversed(before) if deed.name in about), False)

    def acted_after(self, user: str, due: EventTime) -> bool:
        """Whether the shopper did something after `due` for which a sender that looks late must hold a message back."""
        return any(deed.at > due and deed.name in _STOPS for deed in self.deeds[user])

    def orders_after(self, user: str, due: EventTime) -> list[str]:
        """The message ids of the orders after `due`."""
        return [deed.message_id for deed in self.deeds[user] if deed.at > due and deed.name == ORDER]


ORDER = "Order Completed"
_OF_CARTS = frozenset({"Product Added", ORDER})
_OF_PRODUCTS = _OF_CARTS | {"Product Viewed", "Checkout Started"}
_STOPS = frozenset({"Product Added", "Product Removed", ORDER, "identify"})


@dataclass(frozen=True, slots=True)
class Traffic:
    """`clicks` in order of time. `shoppers` is how many people there are."""

    seed: int
    shoppers: int
    clicks: Sequence[Click]
    truth: Truth

    @property
    def final(self) -> list[Click]:
        """The last words of every partition, after which everything is due. They mean nothing to anybody."""
        return [nothing(FINAL, number) for number in range(PARTITIONS)]


def nothing(at: EventTime, partition: int) -> Click:
    """A `group` event: it tells the time, and nothing else."""
    record = event(at, f"herald-{partition}", f"herald-{partition}-{at}", "group")
    return Click(at, partition, record.key.encode(), record.value)


def make(seed: int, shoppers: int, push_url: str) -> Traffic:
    """The same for the same arguments. `push_url` is the fake push service's address."""
    subscriptions = [subscription(push_url, f"sub{number}") for number in range(shoppers)]
    events = crowd(seed, shoppers, subscriptions, _BAND).events
    clicks = [nothing(ORIGIN - MINUTE, number) for number in range(PARTITIONS)]
    clicks += [Click(record.at, _home(record.key), record.key.encode(), record.value) for record in events]
    return Traffic(seed, shoppers, clicks, truth_of(clicks))


def _person(device: str) -> str:
    return device.rpartition("-")[2]


def _home(device: str) -> int:
    """The partition of the person whose device it is."""
    return partition_of(_person(device), PARTITIONS)


def truth_of(clicks: Sequence[Click]) -> Truth:
    truth = Truth()
    user_of: dict[str, str] = {}
    by_device: dict[str, list[Deed]] = defaultdict(list)
    for click in clicks:
        said = _read(click.value)
        device, user = str(said.get("anonymousId")), said.get("userId")
        if isinstance(user, str):
            user_of[device] = user
            _note_addresses(said, user, truth)
        by_device[device].append(Deed(click.at, str(said.get("event") or said.get("type")), str(said.get("messageId"))))
    for device, deeds in by_device.items():
        if device in user_of:
            truth.deeds[user_of[device]] += deeds
    for deeds in truth.deeds.values():
        deeds.sort()
    return truth


def _note_addresses(said: dict[str, Any], user: str, truth: Truth) -> None:
    traits = said.get("traits") or {}
    for address in (traits.get("email"), traits.get("phone")):
        if address:
            truth.user_of[address] = user
    if traits.get("push"):
        truth.user_of[str(traits["push"]["endpoint"]).rpartition("/")[2]] = user


def _read(value: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}

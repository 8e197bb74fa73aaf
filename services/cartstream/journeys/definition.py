"""What a journey is made of: the shape of the YAML file. `docs/journeys.md` explains every field to those who write one."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cartstream.events.times import DAY, HOUR, MINUTE
from cartstream.runtime.rules_file import Duration

_WALL_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

ChannelName = Literal["email", "sms", "push"]
Trigger = Literal["cart_abandoned", "checkout_abandoned", "browse_abandoned", "exit_intent", "price_dropped", "back_in_stock"]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9_]+$")]


class WallTime(int):
    """Milliseconds since local midnight, written as `"21:00"`."""

    @classmethod
    def parse(cls, text: object) -> WallTime:
        match = _WALL_TIME.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f'expected a time of day such as "21:00", got {text!r}')
        return cls(int(match[1]) * HOUR + int(match[2]) * MINUTE)


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Cap(_Rule, frozen=True):
    """At most `limit` messages in any `per`, rolling. More are dropped, or deferred until the oldest leaves the window."""

    limit: Annotated[int, Meta(ge=1)]
    per: Duration
    policy: Literal["drop", "defer"] = "drop"


class Quiet(_Rule, frozen=True):
    """No message whose local time is at or after `from` and before `until`; the window may cross midnight."""

    start: WallTime = msgspec.field(name="from")
    until: WallTime
    policy: Literal["defer", "drop"] = "defer"


class ChannelRules(_Rule, frozen=True):
    cap: Cap | None = None
    quiet: Quiet | None = None


class Channels(_Rule, frozen=True):
    email: ChannelRules = ChannelRules()
    sms: ChannelRules = ChannelRules()
    push: ChannelRules = ChannelRules()

    def rules_of(self, channel: str) -> ChannelRules:
        return {"email": self.email, "sms": self.sms, "push": self.push}[channel]


class StepRule(_Rule, frozen=True):
    """One message, `after` the shopper's last activity on any device, on the first of `channels` that reaches the customer with consent."""

    name: Name
    channels: Annotated[list[ChannelName], Meta(min_length=1)]
    template: Annotated[str, Meta(min_length=1)]
    after: Duration = Duration(0)
    offer: Annotated[str, Meta(min_length=1)] | None = None
    guard: Literal["purchase", "cart", "none"] = "purchase"
    expires_after: Duration = Duration(12 * HOUR)


class EntryGuards(_Rule, frozen=True):
    min_cart_value: Annotated[float, Meta(ge=0)] = 0.0
    no_order_within: Duration | None = None
    reentry_after: Duration | None = None


class Journey(_Rule, frozen=True):
    name: Name
    trigger: Trigger
    steps: Annotated[list[StepRule], Meta(min_length=1)]
    key: Literal["episode"] = "episode"
    entry: EntryGuards = EntryGuards()
    outranks: list[str] = []
    holdout_percent: Annotated[float, Meta(ge=0, le=100)] = 0.0
    timezone: str | None = None
    quiet: Literal["defer", "drop", "ignore"] | None = None
    defer_at_most: Duration = Duration(24 * HOUR)

    @property
    def at_once(self) -> bool:
        """Decided when its signal arrives: the shopper is about to leave."""
        return self.trigger == "exit_intent"

    @property
    def of_carts(self) -> bool:
        return self.trigger in ("cart_abandoned", "checkout_abandoned")


class Journeys(_Rule, frozen=True):
    """A whole file."""

    journeys: Annotated[list[Journey], Meta(min_length=1)]
    channels: Channels = Channels()

    def find(self, name: str) -> Journey | None:
        return next((journey for journey in self.journeys if journey.name == name), None)

    def outranked_by(self, journey: Journey) -> frozenset[str]:
        """The journeys that this one gives way to."""
        return frozenset(other.name for other in self.journeys if journey.name in other.outranks)

    @property
    def remember_ms(self) -> int:
        """How long history matters to any rule: caps, re-entry, and products not to promote."""
        caps = [rules.cap.per for rules in (self.channels.email, self.channels.sms, self.channels.push) if rules.cap]
        entries = [journey.entry.reentry_after or 0 for journey in self.journeys]
        return max(30 * DAY, *caps, *entries)
